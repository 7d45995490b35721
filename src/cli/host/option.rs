//! The host's file, with the option that names it, and this machine's name.

use crate::cli::failure::{ExitCode, Failure};
use crate::error::plain;
use crate::spec::host;
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf, absolute};

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

/// The systemd unit of the package.
pub(super) const UNIT: &str = "/usr/lib/systemd/system/treevisor-host.service";

/// Reads the file; variables are expanded from this process's environment.
pub(super) fn read(file: &Path) -> host::Read {
    host::read(file, &|name| std::env::var(name).ok())
}

/// Whether this is the file that the package's unit uses.
pub(super) fn is_usual(file: &Path) -> bool {
    file == Path::new("/etc/treevisor/host.toml")
}

/// The command that an operator runs next to start the host.
pub(super) fn starts_by(file: &Path) -> String {
    if is_usual(file) && Path::new(UNIT).exists() {
        return "it starts by `systemctl enable --now treevisor-host`".to_owned();
    }
    format!("it runs by `treevisor host run --file {}`", file.display())
}

pub(super) fn whole(path: &Path) -> PathBuf {
    absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The host name of this machine, without the domain.
pub(super) fn machine(doing: &str) -> Result<String, Failure> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").map_err(|error| {
        let message = format!("cannot {doing}: the name of this machine cannot be read: {}", plain(&error));
        Failure::new(ExitCode::Failed, message).hint("name it: --name a")
    })?;
    Ok(name.trim().split('.').next().unwrap_or_default().to_lowercase())
}
