//! Faults that a test asks for, in debug builds: `TV_TEST_UPGRADE="/web restored panic"`. With a file as a fourth word,
//! the fault happens as long as that file exists.
//!
//! | place | in |
//! |---|---|
//! | `rehearsal` | the process of the rehearsal, which has read the snapshot |
//! | `order` | the node, which gets the order of its parent |
//! | `exec` | the node, which executes the other image |
//! | `read`, `restored` | the image that comes: it has read the snapshot, or made the node of it |

use crate::ids::Path;

/// The fault that is wanted here in the node at `path`.
///
/// # Errors
/// The fault is a failure.
#[cfg(debug_assertions)]
pub(in crate::node) fn at(path: &Path, place: &str) -> Result<(), String> {
    let wanted = std::env::var("TV_TEST_UPGRADE").unwrap_or_default();
    let mut words = wanted.split(' ');
    if words.next() != Some(path.as_str()) || words.next() != Some(place) {
        return Ok(());
    }
    let what = words.next();
    if words.next().is_some_and(|file| !std::path::Path::new(file).exists()) {
        return Ok(());
    }
    match what {
        Some("fail") => return Err("a test wants it".into()),
        Some("abort") => std::process::abort(),
        Some("slow") => crate::os::clock::pause(crate::time::Span::from_secs(2)),
        Some("hang") => loop {
            std::hint::spin_loop();
        },
        _ => panic!("a test wants it"),
    }
    Ok(())
}

#[cfg(not(debug_assertions))]
pub(in crate::node) fn at(_: &Path, _: &str) -> Result<(), String> {
    Ok(())
}
