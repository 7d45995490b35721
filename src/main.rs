//! The program `treevisor`: arguments in, exit status out; all else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    treevisor::os::signals::begin();
    treevisor::os::process::allocate_in_one_place();
    let code = treevisor::cli::run(std::env::args_os().collect());
    // All that we return lies in the range of an exit status.
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
