//! The program `treevisor`: arguments in, exit status out; all else is in the library.

use std::process::ExitCode;
use treevisor::os::exec::Resumed;
use treevisor::os::{fd, process, signals};
use treevisor::{cli, node};

fn main() -> ExitCode {
    // First of all: another image of this program may have left a node in this process.
    let code = match Resumed::take() {
        Ok(Some(resumed)) => {
            process::allocate_in_one_place();
            node::boot::resume(resumed)
        }
        Ok(None) => {
            signals::begin();
            process::allocate_in_one_place();
            cli::run(std::env::args_os().collect())
        }
        Err(error) => {
            fd::complain(format_args!("treevisor: {error}"));
            1
        }
    };
    // All that we return lies in the range of an exit status.
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
