//! Feeds frames of arbitrary bytes to every decoder: none may panic, and what one reads must be
//! readable when it is written again.
//!
//! ```sh
//! cargo +nightly fuzz run codec
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use treevisor::wire::codec;

fuzz_target!(|frames: Vec<Vec<u8>>| {
    if let Ok(message) = codec::decode_from_child(&frames) {
        assert!(codec::decode_from_child(&codec::encode_from_child(&message)).is_ok());
    }
    if let Ok(message) = codec::decode_to_node(&frames) {
        assert!(codec::decode_to_node(&codec::encode_to_node(&message)).is_ok());
    }
    if let Ok(message) = codec::decode_ask(&frames) {
        assert!(codec::decode_ask(&codec::encode_ask(&message)).is_ok());
    }
    if let Ok(message) = codec::decode_told(&frames) {
        assert!(codec::decode_told(&codec::encode_told(&message)).is_ok());
    }
});
