//! The option that names the host's file.

use clap::Args;
use std::path::PathBuf;

/// Which file describes the host.
#[derive(Debug, Clone, Args)]
pub struct FileOption {
    /// The host's file
    #[arg(
        long,
        value_name = "FILE",
        env = "TREEVISOR_HOST_FILE",
        hide_env_values = true,
        default_value = "/etc/treevisor/host.toml"
    )]
    pub file: PathBuf,
}
