//! What the tool has the program `treevisor-host` do about which hosts belong to a cluster: the question on its
//! standard input, the answer on its standard output, each one JSON. Keys and the store are that program's; words on a
//! terminal are the tool's.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What is to be done, by the host's file and the keys beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum MemberAsk {
    /// Make the first host of a cluster.
    Init {
        /// The host's file.
        file: PathBuf,
        /// What is to stand in it; `None`: it is there already.
        new: Option<NewHost>,
        /// How many hosts are to run a member of the store; `None`: three, or other means run it.
        #[serde(default)]
        members: Option<usize>,
    },
    /// Make the keys of another host.
    Add {
        /// The file of this host.
        file: PathBuf,
        /// The other one.
        name: String,
        /// Where its keys are written to.
        to: PathBuf,
    },
    /// Make this machine a host, by an invitation.
    Join {
        /// Where the host's file is to be.
        file: PathBuf,
        /// What it is to be.
        new: Newcomer,
    },
    /// Make new keys of this host.
    Rotate {
        /// Its file.
        file: PathBuf,
    },
    /// Have all keys of this host not taken any more but those that it has.
    Retire {
        /// Its file.
        file: PathBuf,
    },
    /// Give the cluster another signing key, one step on.
    Renew {
        /// The file of this host.
        file: PathBuf,
        /// Where none is under way, one begins.
        begin: bool,
    },
    /// Have the keys of another host not taken any more.
    Remove {
        /// The file of this host.
        file: PathBuf,
        /// The other one.
        name: String,
    },
}

/// A host whose file is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NewHost {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// `HOST:PORT`, where other hosts find it; `None`: it does not connect to them.
    pub address: Option<String>,
    /// The members of the store.
    pub endpoints: Vec<String>,
    /// Their authority.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown to them.
    pub cert: Option<PathBuf>,
    /// The key to that.
    pub key: Option<PathBuf>,
    /// Hosts of the cluster run the store: whether this one does. `None`: it is run by other means.
    #[serde(default)]
    pub run: Option<bool>,
    /// It runs a member of the store, and nothing is placed on it.
    #[serde(default)]
    pub witness: bool,
}

/// A machine that is to become a host by an invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newcomer {
    /// The invitation: where to, and what proves that this machine was invited.
    pub line: String,
    /// What it is to be called.
    pub name: String,
    /// `HOST` or `HOST:PORT`, where the other hosts find it.
    pub address: String,
    /// The certificate that is shown to the store.
    pub cert: Option<PathBuf>,
    /// The key to that.
    pub key: Option<PathBuf>,
    /// It is to vote, and nothing is to be placed on it.
    #[serde(default)]
    pub witness: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "told")]
pub enum MemberTold {
    /// It is done; what that was, in lines for people.
    Done {
        /// The lines.
        lines: Vec<String>,
    },
    /// It goes on; what was done, in lines for people.
    Waiting {
        /// The lines.
        lines: Vec<String>,
        /// The hosts that it waits for.
        hosts: Vec<String>,
    },
    /// It is not.
    Failed {
        /// What was tried, and what is wrong.
        message: String,
        /// What would be right.
        hint: Option<String>,
    },
}
