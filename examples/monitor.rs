//! Watches over a program that `treevisor run` supervises, in Rust: one line for each thing that happens to it.
//!
//! ```sh
//! cargo build --examples
//! treevisor run --name app --heartbeat 1s --misses 2 -- target/debug/examples/arrhythmic
//! cargo run --example monitor app
//! ```

use std::error::Error;
use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;
use treevisor::control::session::{EventsRead, EventsWanted};
use treevisor::control::{self, Session};
use treevisor::error::Chain;
use treevisor::explain::sentence;
use treevisor::ids::Path;
use treevisor::time::Span;

fn main() -> ExitCode {
    match watch(std::env::args().nth(1).as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot follow: {}", Chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn watch(instance: Option<&str>) -> Result<(), Box<dyn Error>> {
    let instance = control::find(&control::own_base(), instance)?;
    let mut session = Session::connect(&instance.runtime)?;
    let wanted = EventsWanted { path: Path::root(), kinds: Vec::new(), from: None, follow: true };
    session.events(&wanted, Span::from_secs(5), &mut |read: EventsRead| {
        let mut out = std::io::stdout().lock();
        if read.lost > 0 {
            eprintln!("{} events were lost here", read.lost);
        }
        // A reader that closes our output has read enough.
        let written = read
            .events
            .iter()
            .try_for_each(|event| writeln!(out, "{} {} {}", event.at, event.path, sentence::words(event)));
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(())
}
