//! Requests of the command line to the program `treevisor-host` that change which hosts belong to a cluster. The
//! request is JSON on its standard input, the answer JSON on its standard output. Only `treevisor-host` has the keys
//! and asks the store; the command line prints the result.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A request. `treevisor-host` reads the host's file, and the keys beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum MemberRequest {
    /// Make the first host of a cluster.
    Init {
        /// Where its configuration is, or is to be.
        file: PathBuf,
        /// The content to write to the file; `None` if the file exists already.
        new: Option<NewHost>,
        /// How many hosts are to run a member of the store. `None` stands for three, or for a store that is not run by
        /// hosts of the cluster.
        #[serde(default)]
        members: Option<usize>,
    },
    /// Make the keys of another host.
    Add {
        /// The file of this host.
        file: PathBuf,
        /// The name of the other host.
        name: String,
        /// The directory that its keys are written to.
        to: PathBuf,
    },
    /// Make this machine a host, by an invitation.
    Join {
        /// Where the host's file is to be written.
        file: PathBuf,
        /// The invitation, and the name and address of the new host.
        new: Newcomer,
    },
    /// Make new keys of this host.
    Rotate {
        /// The file of this host.
        file: PathBuf,
    },
    /// Revoke all keys of this host except its present ones.
    Retire {
        /// The file of this host.
        file: PathBuf,
    },
    /// Replace the cluster's signing key; each request takes the replacement one step further.
    Renew {
        /// The file of this host.
        file: PathBuf,
        /// Begin a replacement if none is under way.
        begin: bool,
    },
    /// Revoke the keys of another host.
    Remove {
        /// The file of this host.
        file: PathBuf,
        /// The name of the other host.
        name: String,
    },
}

/// A host whose file is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NewHost {
    /// The name of its cluster.
    pub cluster: String,
    /// Unique in the cluster.
    pub name: String,
    /// `HOST:PORT`, where other hosts reach it; `None` if it does not connect to other hosts.
    pub address: Option<String>,
    /// The addresses of the store's members.
    pub endpoints: Vec<String>,
    /// The certificate authority of the store's members.
    pub ca: Option<PathBuf>,
    /// The client certificate for the store.
    pub cert: Option<PathBuf>,
    /// The private key of that certificate.
    pub key: Option<PathBuf>,
    /// Whether this host runs a member of the store; `None` if the store is not run by hosts of the cluster.
    #[serde(default)]
    pub run: Option<bool>,
    /// The host is a witness: it runs a member of the store, and nothing is placed on it.
    #[serde(default)]
    pub witness: bool,
}

/// A machine that is to become a host by an invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newcomer {
    /// The invitation: the address of the inviting host, and the token that proves that this machine was invited.
    pub line: String,
    /// The name that the new host is to have.
    pub name: String,
    /// `HOST` or `HOST:PORT`, where the other hosts reach it.
    pub address: String,
    /// The client certificate for the store.
    pub cert: Option<PathBuf>,
    /// The private key of that certificate.
    pub key: Option<PathBuf>,
    /// The host is to be a witness: to run a voting member of the store, with nothing placed on it.
    #[serde(default)]
    pub witness: bool,
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "told")]
pub enum MemberReply {
    /// The request has succeeded.
    Done {
        /// What was done, in lines for people.
        lines: Vec<String>,
    },
    /// The request has begun and waits for other hosts.
    Waiting {
        /// What was done, in lines for people.
        lines: Vec<String>,
        /// The hosts that are waited for.
        hosts: Vec<String>,
    },
    /// The request has failed.
    Failed {
        /// What was tried, and what is wrong.
        message: String,
        /// What would be right.
        hint: Option<String>,
        /// What was asked for is done, and of the store that it needs there is no answer.
        #[serde(default)]
        is_done: bool,
    },
}
