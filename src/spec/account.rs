//! A user of this system, as a spec carries it.

use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

/// The user that a worker runs as, in the kernel's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Account {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The user's name; a number without an entry has none.
    pub name: Option<String>,
    /// Its home directory.
    #[serde(with = "crate::files::exact::option")]
    pub home: Option<PathBuf>,
    /// Its shell.
    #[serde(with = "crate::files::exact::option")]
    pub shell: Option<PathBuf>,
}

impl Account {
    /// What login(1) and systemd pass to a process of the user that it runs as. A number without an entry has no more
    /// than that number, and the root directory, as in a container.
    pub(crate) fn environment(&self) -> [(&'static str, Option<OsString>); 4] {
        let name = OsString::from(self.name.clone().unwrap_or_else(|| self.uid.to_string()));
        let home = self.home.clone().unwrap_or_else(|| PathBuf::from("/"));
        let shell = self.shell.clone().map(OsString::from);
        [("HOME", Some(home.into())), ("USER", Some(name.clone())), ("LOGNAME", Some(name)), ("SHELL", shell)]
    }
}
