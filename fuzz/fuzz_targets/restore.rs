//! Feeds arbitrary states to `treevisor restore-check`: each is taken or refused in words, and none may panic. The
//! input is the state as JSON, and behind a zero byte the blobs; the head is made here, so that the lengths in it are
//! right.
//!
//! ```sh
//! cargo +nightly fuzz run restore
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use treevisor::node::check_state;
use treevisor::wire::snapshot::FORMAT;

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == 0);
    let (state, blobs) = input.split_at(end.unwrap_or(input.len()));
    let head = format!("TVSNAP\n{FORMAT}\n{}\n", state.len());
    let blobs = blobs.get(1..).unwrap_or_default();
    if let Err(why) = check_state(&[head.as_bytes(), state, blobs].concat()) {
        assert!(!why.is_empty());
    }
});
