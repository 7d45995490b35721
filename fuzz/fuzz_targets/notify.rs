//! Feeds arbitrary datagrams to the reader of notifications: none may panic, and no text may be longer than its limit.
//!
//! ```sh
//! cargo +nightly fuzz run notify
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use treevisor::wire::notify::{Notification, TEXT_MAX};

fuzz_target!(|datagram: &[u8]| {
    let notification = Notification::parse(datagram);
    assert!(notification.status.is_none_or(|text| text.len() <= TEXT_MAX));
});
