//! A user of this system, as a spec carries it.

use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

/// The user that a worker runs as, in the kernel's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Account {
    /// Number in the user database.
    pub uid: u32,
    /// Number of the primary group.
    pub gid: u32,
    /// Numbers of the supplementary groups.
    pub groups: Vec<u32>,
    /// The user's name; `None` if the user database has no entry for the number.
    pub name: Option<String>,
    /// Its home directory, for `HOME`.
    #[serde(with = "crate::files::exact::option")]
    pub home: Option<PathBuf>,
    /// Its login shell, for `SHELL`.
    #[serde(with = "crate::files::exact::option")]
    pub shell: Option<PathBuf>,
}

impl Account {
    /// The environment variables that login(1) and systemd set for the user that a process runs as. For a number
    /// without an entry, as in a container, the name is the number and the home directory is `/`.
    pub(crate) fn environment(&self) -> [(&'static str, Option<OsString>); 4] {
        let name = OsString::from(self.name.clone().unwrap_or_else(|| self.uid.to_string()));
        let home = self.home.clone().unwrap_or_else(|| PathBuf::from("/"));
        let shell = self.shell.clone().map(OsString::from);
        [("HOME", Some(home.into())), ("USER", Some(name.clone())), ("LOGNAME", Some(name)), ("SHELL", shell)]
    }
}
