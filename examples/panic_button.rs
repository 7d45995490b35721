//! The big red button, in Rust: kills a part of a running tree, hung or not, and its supervisor starts it afresh.
//!
//! ```sh
//! cargo run --example panic_button /lab/hearts [INSTANCE]
//! ```

use std::error::Error;
use std::process::ExitCode;
use treevisor::control::{self, AskError, Limits, Session};
use treevisor::error::Chain;
use treevisor::ids::Path;
use treevisor::time::Span;
use treevisor::wire::message::{Outcome, Reply, Verb};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let Some(path) = words.next() else {
        eprintln!("usage: panic_button PATH [INSTANCE]");
        return ExitCode::from(2);
    };
    match press(&path, words.next().as_deref()) {
        Ok(detail) if detail.is_empty() => println!("{path}: killed"),
        Ok(detail) => println!("{path}: killed, {detail}"),
        Err(error) => {
            eprintln!("cannot panic {path}: {}", Chain(error.as_ref()));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn press(path: &str, instance: Option<&str>) -> Result<String, Box<dyn Error>> {
    let instance = control::find(&control::own_base(), instance)?;
    let mut session = Session::connect(&instance.runtime)?;
    let limits = Limits { first: Span::from_secs(5), overall: Span::from_secs(30) };
    let verb = Verb::Panic { path: Path::parse(path)?, hold: false };
    match session.ask(verb, limits, &mut |_, _| {})? {
        Reply::Done { outcome: Outcome::Ok, detail } => Ok(detail),
        Reply::Done { outcome, detail } => Err(AskError::Failed { outcome, detail }.into()),
        other => Err(format!("an answer to something else: {other:?}").into()),
    }
}
