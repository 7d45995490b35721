//! The program `treevisor-host`: what a host of a cluster runs beside its trees. People use `treevisor host`, which
//! executes it.

use std::path::Path;
use std::process::ExitCode;
use treevisor::host::{agent, etcd, fence, member};
use treevisor::os::{fd, process, signals};

fn main() -> ExitCode {
    signals::begin();
    process::allocate_in_one_place();
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let code = match arguments.as_slice() {
        [verb] if verb == "fence" => fence::run(),
        [verb, option, file] if verb == "agent" && option == "--file" => agent::run(Path::new(file)),
        [verb, option, file] if verb == "store" && option == "--file" => etcd::run(Path::new(file)),
        [verb] if verb == "member" => member::run(),
        _ => {
            fd::complain("treevisor-host: this program is started by treevisor; use `treevisor host`");
            2
        }
    };
    // All that we return lies in the range of an exit status.
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
