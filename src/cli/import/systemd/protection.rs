//! Sandboxing settings, which have no counterpart here.

/// Whether a key restricts what a service can do.
pub(super) fn protects(key: &str) -> bool {
    const BEGINNINGS: [&str; 6] = ["Protect", "Private", "Restrict", "SystemCall", "IPAddress", "Device"];
    const KEYS: [&str; 14] = [
        "BindReadOnlyPaths",
        "CapabilityBoundingSet",
        "ExecPaths",
        "InaccessiblePaths",
        "LockPersonality",
        "MemoryDenyWriteExecute",
        "NoExecPaths",
        "NoNewPrivileges",
        "ProcSubset",
        "ReadOnlyPaths",
        "RemoveIPC",
        "RootDirectory",
        "SecureBits",
        "TemporaryFileSystem",
    ];
    BEGINNINGS.iter().any(|beginning| key.starts_with(beginning)) || KEYS.contains(&key)
}
