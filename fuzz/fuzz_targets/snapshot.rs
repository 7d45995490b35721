//! Feeds arbitrary files to the reader of snapshots: none may panic, and what it takes is taken again after it was
//! written again.
//!
//! ```sh
//! cargo +nightly fuzz run snapshot
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use treevisor::wire::snapshot::{self, Blobs, Draft, Facts, State, Unreadable};

type Read<'a> = Result<(State<Value, Value>, Blobs<'a>), Unreadable>;

fuzz_target!(|file: &[u8]| {
    let read: Read<'_> = snapshot::read(file);
    let Ok((State { version, boot, clock, taken, node, core, descriptors, .. }, blobs)) = read else { return };
    let mut draft = Draft::new();
    for bytes in blobs.iter() {
        draft.blob(bytes);
    }
    let facts = Facts { version, boot, clock, taken, node, core, descriptors };
    let again = draft.finish(facts.clone()).expect("JSON that was read can be written").concat();
    let read: Read<'_> = snapshot::read(&again);
    let (state, after) = read.expect("what was written can be read");
    assert_eq!((state.version, state.boot, state.node, state.core), (facts.version, facts.boot, facts.node, facts.core));
    assert!(after.iter().eq(blobs.iter()));
});
