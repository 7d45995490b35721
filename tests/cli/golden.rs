//! Texts that are kept in files.

use std::fs;
use std::path::{Path, PathBuf};

/// Whether the files are to be written anew.
pub(crate) fn blessing() -> bool {
    std::env::var_os("TREEVISOR_BLESS").is_some()
}

/// Compares `text` with the file `name`.
pub(crate) fn compare(name: &str, text: &str) {
    compare_with(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden").join(name), text);
}

/// Compares `text` with a file that lies elsewhere.
pub(crate) fn compare_with(path: &Path, text: &str) {
    if blessing() {
        fs::write(path, text).unwrap();
        return;
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == text,
        "the text differs from {}; it is now:\n{text}\nif that is right, run with TREEVISOR_BLESS=1",
        path.display()
    );
}
