//! Machines that become hosts: an operator opens an invitation for a while, and the agent certifies the key of the
//! machine that presents its token.
//!
//! While an invitation is open, connections of keys without a certificate are accepted, but only for JOIN messages. Of
//! a token only the hash is kept. An admission uses the invitation up, and a failed one restores it. Certifying needs
//! the store, which may block: a thread does it, one machine at a time.

use super::beside::Beside;
use crate::ids::Token;
use crate::link::Identity;
use crate::time::{Span, Time};
use crate::wire::tvh1::header::Join;
use ring::digest::{SHA256, digest};
use std::io;
use std::os::fd::RawFd;

/// How many invitations may be open at once.
const OPEN_MAX: usize = 16;

/// The longest time for which an invitation may be open.
const LONGEST: Span = Span::from_secs(24 * 60 * 60);

type Hash = [u8; 32];

/// An invitation that no machine has used yet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    hash: Hash,
    until: Time,
}

/// The open invitations. Pure: no thread, no clock.
#[derive(Debug, Default)]
struct Invitations(Vec<Open>);

impl Invitations {
    /// Opens an invitation. `false`: too many are open.
    fn open(&mut self, token: Token, until: Time, now: Time) -> bool {
        self.expire(now);
        let has_room = self.0.len() < OPEN_MAX;
        if has_room {
            self.0.push(Open { hash: hash(token), until });
        }
        has_room
    }

    /// Removes the invitation with this token, and returns it; `None`: there is none.
    fn take(&mut self, token: Token, now: Time) -> Option<Open> {
        self.expire(now);
        let hash = hash(token);
        let at = self.0.iter().position(|open| open.hash == hash)?;
        Some(self.0.remove(at))
    }

    /// Whether an invitation is open. Expired ones are removed, and do not count for `next_deadline` any more.
    fn is_open(&mut self, now: Time) -> bool {
        self.expire(now);
        !self.0.is_empty()
    }

    fn expire(&mut self, now: Time) {
        self.0.retain(|open| open.until > now);
    }

    fn next_deadline(&self) -> Option<Time> {
        self.0.iter().map(|open| open.until).min()
    }
}

fn hash(token: Token) -> Hash {
    digest(&SHA256, &token.0).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The invitations, and the admission that is in progress.
pub(super) struct Joins {
    invitations: Invitations,
    /// The machine that is being admitted.
    under_way: Option<UnderWay>,
    beside: Beside<Join>,
}

struct UnderWay {
    open: Open,
    to: Identity,
    name: String,
}

/// An admission that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) to: Identity,
    pub(super) name: String,
    pub(super) answer: Join,
}

impl Joins {
    pub(super) fn new() -> io::Result<Joins> {
        Ok(Joins { invitations: Invitations::default(), under_way: None, beside: Beside::new()? })
    }

    /// A descriptor that becomes readable when an admission has ended.
    pub(super) fn fd(&self) -> RawFd {
        self.beside.fd()
    }

    /// Opens an invitation for the time `wanted`.
    ///
    /// # Errors
    /// `wanted` is too long, or too many invitations are open.
    pub(super) fn invite(&mut self, token: Token, wanted: Span, now: Time) -> Result<(), String> {
        if wanted > LONGEST {
            return Err(format!("an invitation is open for {} at most", LONGEST.coarse()));
        }
        let opened = self.invitations.open(token, now + wanted, now);
        opened.then_some(()).ok_or_else(|| format!("{OPEN_MAX} invitations are open: one of them has to end first"))
    }

    /// Whether keys without a certificate may connect now. They may until the answer to the machine that is being
    /// admitted was sent.
    pub(super) fn is_open(&mut self, now: Time) -> bool {
        self.invitations.is_open(now) || self.under_way.is_some()
    }

    /// Whether a machine is joining.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    pub(super) fn close(&mut self) {
        self.invitations.0.clear();
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.invitations.next_deadline()
    }

    /// A machine asks to become the host `name`, with this token. `admit` certifies it, in a thread of its own.
    ///
    /// # Errors
    /// Why it is refused; sent to that machine.
    pub(super) fn asked(
        &mut self,
        (token, name): (Token, String),
        to: Identity,
        now: Time,
        admit: impl FnOnce(&str) -> Join + Send + 'static,
    ) -> Result<(), String> {
        if self.under_way.is_some() {
            return Err("another machine is joining at this moment: try again".to_owned());
        }
        let open = self.invitations.take(token, now);
        let open = open.ok_or("the invitation is over, or was used: have `treevisor host invite` make another one")?;
        let called = name.clone();
        self.under_way = Some(UnderWay { open, to, name });
        self.beside.begin("treevisor-join", move || admit(&called)).map_err(|error| {
            self.invitations.0.extend(self.under_way.take().map(|under_way| under_way.open));
            format!("this host cannot begin it: {error}")
        })
    }

    /// The admission that has ended since the last call.
    pub(super) fn ended(&mut self) -> Option<Ended> {
        let answer = self.beside.take()?;
        let UnderWay { open, to, name } = self.under_way.take()?;
        if matches!(answer, Join::Refused { .. }) {
            self.invitations.0.push(open);
        }
        Some(Ended { to, name, answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = Token([7; 16]);

    fn at(secs: u64) -> Time {
        Time::ZERO + Span::from_secs(secs)
    }

    fn refused(why: &str) -> Join {
        Join::Refused { why: why.to_owned() }
    }

    fn ended(joins: &mut Joins) -> Ended {
        (0..10_000)
            .find_map(|_| {
                crate::os::clock::pause(Span::from_millis(1));
                joins.ended()
            })
            .expect("the thread ends")
    }

    #[test]
    fn an_invitation_is_for_one_machine_and_for_a_while() {
        let mut invitations = Invitations::default();
        assert!(!invitations.is_open(at(0)));
        assert!(invitations.open(TOKEN, at(10), at(0)));
        assert!(invitations.is_open(at(9)));
        assert_eq!(invitations.next_deadline(), Some(at(10)));
        assert_eq!(invitations.take(Token([8; 16]), at(1)), None);
        assert!(invitations.take(TOKEN, at(9)).is_some());
        assert_eq!(invitations.take(TOKEN, at(9)), None, "it was used");
        assert!(!invitations.is_open(at(9)));
        for over in
            [|all: &mut Invitations| all.is_open(at(10)), |all: &mut Invitations| all.take(TOKEN, at(10)).is_some()]
        {
            assert!(invitations.open(TOKEN, at(10), at(0)));
            assert!(!over(&mut invitations), "it is over");
            assert_eq!(invitations.next_deadline(), None, "what is over wakes no loop");
        }
    }

    #[test]
    fn only_so_many_are_open_at_once() {
        let mut joins = Joins::new().unwrap();
        for number in 0..16 {
            joins.invite(Token([number; 16]), Span::from_secs(5), at(0)).unwrap();
        }
        assert!(joins.invite(TOKEN, Span::from_secs(5), at(1)).is_err());
        joins.invite(TOKEN, Span::from_secs(5), at(5)).expect("the others are over");
        assert!(joins.invite(Token([99; 16]), LONGEST + Span::from_secs(1), at(5)).unwrap_err().contains("at most"));
    }

    #[test]
    fn a_token_is_given_back_where_the_admission_fails_and_used_up_where_it_does_not() {
        let mut joins = Joins::new().unwrap();
        joins.invite(TOKEN, Span::from_secs(60), at(0)).unwrap();
        let ask = |joins: &mut Joins, by: u8, answer: Join| {
            joins.asked((TOKEN, "b".to_owned()), Identity::new(&[by]), at(1), move |_| answer)
        };
        ask(&mut joins, 1, refused("the store does not answer")).unwrap();
        assert!(ask(&mut joins, 2, refused("")).unwrap_err().contains("try again"));
        let first = ended(&mut joins);
        assert_eq!((first.to, first.name.as_str()), (Identity::new(&[1]), "b"));
        assert_eq!(first.answer, refused("the store does not answer"));

        ask(&mut joins, 3, Join::Welcome(Box::default())).unwrap();
        assert!(joins.is_open(at(1_000)), "the machine that was let in waits for its answer");
        assert_eq!(ended(&mut joins).answer, Join::Welcome(Box::default()));
        assert!(!joins.is_open(at(1)));
        assert!(ask(&mut joins, 4, refused("")).unwrap_err().contains("was used"));
    }
}
