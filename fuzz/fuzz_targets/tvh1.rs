//! Feeds frames of arbitrary bytes to what one agent reads of another: it may not panic, and what is read can be sent
//! on.
//!
//! ```sh
//! cargo +nightly fuzz run tvh1
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use treevisor::wire::tvh1::{self, header};

fuzz_target!(|frames: Vec<Vec<u8>>| {
    if let Ok(message) = tvh1::decode(frames) {
        let _ = message.stamp();
        let _ = message.header::<header::Hello>();
        let _ = message.header::<header::Pulse>();
        let _ = message.header::<header::Bundle>();
        let _ = message.header::<header::Operator>();
        let _ = message.header::<header::ChangeRequest>();
        let _ = message.header::<header::Look>();
        assert!(tvh1::decode(tvh1::encode(&message, 1)).is_ok());
    }
});
