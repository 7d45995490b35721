//! Feeds arbitrary text to the reader of snapshots: none may make it panic, and what is taken is written again as it
//! was read.
//!
//! ```sh
//! mkdir -p fuzz/corpus/core
//! jq -c '.[]' tests/data/snapshots/core.json | split -l 1 - fuzz/corpus/core/core-
//! cargo +nightly fuzz run core
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use treevisor::supervision::{Kind, Member, Snapshot, Supervisor};
use treevisor::wire::exact;

fuzz_target!(|text: &str| {
    let Ok(snapshot) = exact::read::<Snapshot>(text.as_bytes()) else { return };
    let before = serde_json::to_string(&snapshot).expect("what was read can be written");
    let restored = Supervisor::restore(snapshot, |name, _| {
        Some(Member { name: name.clone(), kind: Kind::Worker, revision: 0, settings: 0, policy: Default::default() })
    });
    if let Ok(core) = restored {
        let _ = core.next_deadline();
        let after = serde_json::to_string(&core.snapshot()).expect("it can be written");
        assert_eq!(before, after);
    }
});
