//! Sandboxing, of which there is none here.

/// Whether a key keeps a service from something that it could do otherwise.
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
