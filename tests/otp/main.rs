//! The rules of OTP's supervisor, R1 to R79, and where this project decides otherwise, D1 to D17, as tests of the
//! supervision core. `docs/otp.md` says what the decisions are.
//!
//! `table`, and `reloads` for new sets of children and `rolling` for those that come one after another and `placed` for
//! children on other hosts, have a row or more for every rule, told in the little language of `script`; `chains`
//! follows causes; `worlds` enumerates all small supervisors against an oracle; `random` feeds streams of events, those
//! of `stray` among them; `large` has ten thousand children. Beside every row goes a `twin` that is written down and
//! made again after each event; `snapshot` is about what was written down, and `forgotten` shows that nothing of it can
//! be left out.

mod chains;
mod counts;
mod fact;
mod forgotten;
mod large;
mod placed;
mod random;
mod reloads;
mod rolling;
mod script;
mod snapshot;
mod stray;
mod table;
mod twin;
mod worlds;
