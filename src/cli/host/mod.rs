//! `treevisor host`: this machine as one of several that a tree may run on.

mod check;
mod drain;
mod join;
mod member;
mod option;
mod program;
mod run;

use super::failure::{ExitCode, Failure};
use super::options::ColorMode;
use check::Check;
use clap::{Args, Subcommand};
use drain::{Drain, Forget, Undrain};
use join::{Invite, Join};
use member::{Add, Init, Remove, Rotate};
use run::Run;

/// This machine as one of several that a tree can run on
///
/// A host is a machine that belongs to a cluster: its file says to which, and where the cluster's store is.
#[derive(Debug, Args)]
#[command(
    after_long_help = "\
Examples:
  treevisor host check
  treevisor host run
  treevisor host drain --wait
",
    subcommand_value_name = "VERB",
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Host {
    #[command(subcommand)]
    pub verb: HostVerb,
}

/// What there is to do with a host.
#[derive(Debug, Subcommand)]
pub enum HostVerb {
    Run(Run),
    Check(Check),
    Drain(Drain),
    Undrain(Undrain),
    Forget(Forget),
    Init(Init),
    Add(Add),
    Invite(Invite),
    Join(Join),
    Remove(Remove),
    Rotate(Rotate),
}

pub(super) fn run(args: Host, when: ColorMode) -> Result<i32, Failure> {
    match args.verb {
        HostVerb::Run(args) => run::run(args, when),
        HostVerb::Check(args) => check::run(args, when).map(ExitCode::number),
        HostVerb::Drain(args) => drain::drain(args, when).map(ExitCode::number),
        HostVerb::Undrain(args) => drain::undrain(args, when).map(ExitCode::number),
        HostVerb::Forget(args) => drain::forget(args, when).map(ExitCode::number),
        HostVerb::Init(args) => member::init(args, when).map(ExitCode::number),
        HostVerb::Add(args) => member::add(args, when).map(ExitCode::number),
        HostVerb::Invite(args) => join::invite(args, when).map(ExitCode::number),
        HostVerb::Join(args) => join::join(args, when).map(ExitCode::number),
        HostVerb::Remove(args) => member::remove(args, when).map(ExitCode::number),
        HostVerb::Rotate(args) => member::rotate(args, when).map(ExitCode::number),
    }
}
