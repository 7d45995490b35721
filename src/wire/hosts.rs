//! The requests of the command line to the agent of its host, and the agent's answers.
//!
//! A request is one message: a number that the answer repeats, the length of the JSON in bytes, the JSON, and for a
//! bundle the contents of its files. JSON and files are split over as many frames as they need. An answer has the same
//! form, without files.

use super::look::{Kept, Page, RecordCursor};
pub use super::view::CandidateView;
use super::{NODE_FRAME_MAX, json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Most bytes of all files of a bundle together.
pub const BUNDLE_MAX: usize = 8 << 20;

/// The agent's socket for tools, in the runtime directory of the host's own tree.
pub const SOCKET: &str = "agent";

/// The directory, in that of the host's own tree, below which tools find instances whose roots run on other hosts.
pub const VIA: &str = "via";

/// Most files of a bundle.
pub const BUNDLE_FILES_MAX: usize = 200;

/// A request of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum HostRequest {
    /// The state of the cluster, as this host sees it.
    Hosts,
    /// Deploy this tree: write its files, which follow in further frames, to this host's disk, and have it run.
    Deploy(Bundle),
    /// On which host the root of an instance runs.
    Locate {
        /// The name of the instance.
        instance: String,
    },
    /// Where the deployed bundle of an instance lies on this host's disk.
    Bundle {
        /// The name of the instance.
        instance: String,
    },
    /// Drain this host: nothing is to run here any more.
    Drain,
    /// End the drain of this host.
    Undrain,
    /// Drain another host, by its name, or end its drain. This is not `Drain` with a name, because an agent of an
    /// earlier version would ignore the name and drain its own host.
    DrainHost {
        /// The name of the host.
        host: String,
        /// True to drain the host, false to end the drain.
        draining: bool,
    },
    /// Load the new keys of this host, and use them from now on.
    Rekey {
        /// The host's configuration file; the keys lie beside it.
        file: PathBuf,
    },
    /// Make an invitation, by which another machine can become a host.
    Invite {
        /// How long the invitation is valid, in milliseconds.
        for_ms: u64,
    },
    /// Forget another host: the operator vouches for its being switched off.
    Forget {
        /// The name of the host.
        host: String,
    },
    /// Read a page of the records on a host's disk: the agent's reports, or the journal of an instance.
    Look {
        /// The name of the host.
        host: String,
        /// Of the agent or of an instance.
        kept: Kept,
        /// Where the page begins.
        from: RecordCursor,
    },
}

/// A tree's file and what it includes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The name of the instance that the bundle defines.
    pub instance: String,
    /// The path of the file that the tree is started from, as in `files`.
    pub file: String,
    /// All files; their paths are relative to the directory of `file`. Their contents follow in this order, in further
    /// frames, each split as long JSON is.
    pub files: Vec<BundleFile>,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleFile {
    /// The path of the file.
    pub path: String,
    /// The length of its content in bytes.
    pub bytes: usize,
}

/// An answer of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "told")]
pub enum HostReply {
    /// The answer to `Hosts`.
    Hosts(Box<HostsView>),
    /// To `Deploy`: the bundle lies on this host's disk, and the cluster's record asks for the tree to run.
    Deployed {
        /// The digest of the bundle's content.
        digest: String,
        /// The same content was deployed before, from this host or another one.
        again: bool,
        /// Live hosts that do not have the bundle yet, and cannot run the tree before they do.
        without: Vec<String>,
        /// The bundle was sent to the other hosts.
        #[serde(default)]
        brought: bool,
    },
    /// The answer to `Locate`.
    Located {
        /// The host that runs the root; `None` if no host does.
        host: Option<String>,
        /// The host that was asked runs the root.
        #[serde(default)]
        here: bool,
        /// The instance is deployed in this cluster.
        known: bool,
        /// The directory below which a tool finds the instance as if it ran here; requests to the endpoint there are
        /// forwarded to its host. `None` if that host cannot be reached from this one.
        #[serde(default)]
        via: Option<String>,
    },
    /// The answer to `Bundle`.
    Bundle {
        /// The tree's file on this host's disk; `None` if the instance is not deployed, or this host does not have its
        /// bundle.
        file: Option<String>,
    },
    /// The answer to `Invite`.
    Invited {
        /// The invitation, to be typed on the new machine after `treevisor host join`.
        line: String,
    },
    /// The answer to `Look`.
    Page(Page),
    /// The request is carried out, or its execution has begun.
    Done,
    /// The request is refused.
    Refused {
        /// Why, and what would be right.
        message: String,
    },
}

/// The state of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostsView {
    /// The name of the cluster.
    pub cluster: String,
    /// The name of the host whose agent has answered.
    pub here: String,
    /// The store that has the cluster's records.
    pub store: StoreView,
    /// The hosts of the cluster, sorted by name.
    pub hosts: Vec<HostView>,
    /// The instances that are deployed in the cluster.
    pub instances: Vec<PlacedView>,
}

/// The state of a cluster's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreView {
    /// The kind of store, such as `etcd`.
    pub kind: String,
    /// `ok`, or `lost` if it does not answer.
    pub state: String,
    /// The addresses of the store's members.
    pub endpoints: Vec<String>,
    /// How many voting members the store has; only where hosts of the cluster run them.
    #[serde(default)]
    pub members: Option<u64>,
    /// Milliseconds since the store last answered.
    pub age_ms: Option<u64>,
    /// The size of the store's data in bytes.
    pub size_bytes: Option<u64>,
    /// The limit of that size in bytes.
    pub quota_bytes: Option<u64>,
}

/// The state of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostView {
    /// The name of the host.
    pub name: String,
    /// `live`, `draining` or `lost`.
    pub state: String,
    /// The epoch of the host: a number that grows each time it joins the cluster anew.
    pub epoch: u64,
    /// Milliseconds until its lease expires.
    pub lease_left_ms: Option<u64>,
    /// `up` or `down`: whether messages of its agent arrive here. `None` for the answering host itself, and where
    /// agents do not connect to each other.
    pub link: Option<String>,
    /// Why the link is down, where that is known.
    #[serde(default)]
    pub link_note: Option<String>,
    /// How many trees run there.
    pub placed: u32,
    /// The host's labels, which a placement can require.
    pub labels: BTreeMap<String, String>,
    /// The host is draining: no instance is started there any more.
    pub draining: bool,
    /// The version of the program that its agent runs.
    pub version: String,
    /// The version of the protocol that its agent speaks.
    pub protocol: u32,
    /// The host has cgroup v2 with `cgroup.kill`, which kills a whole cgroup with one write.
    pub cgroup: bool,
    /// The host is a witness: it has a voting member of the store, and nothing is placed on it. Absent if false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub witness: bool,
    /// The address at which its agent listens.
    pub address: Option<String>,
    /// What keeps the host from running trees.
    pub note: Option<String>,
}

/// The state of one deployed instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedView {
    /// The name of the instance.
    pub instance: String,
    /// `up` or `down`: the state that the instance is to have.
    pub wanted: String,
    /// The digest of its bundle's content.
    pub digest: Option<String>,
    /// The host that runs its root.
    pub host: Option<String>,
    /// The fencing token of that host's claim.
    pub token: Option<u64>,
    /// When the claim was made, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// A remark on its state, for people.
    pub note: Option<String>,
    /// All hosts, the best candidate first.
    pub candidates: Vec<CandidateView>,
    /// Its placed subtrees, sorted by path.
    #[serde(default)]
    pub subtrees: Vec<SubtreeView>,
}

/// The claim of a placed subtree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtreeView {
    /// The path of the subtree.
    pub path: String,
    /// The host that it runs on; `None` while no host holds its claim.
    pub host: Option<String>,
    /// The fencing token of the claim.
    pub token: u64,
    /// When the claim was made, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Why the claim was set free, for people.
    pub note: Option<String>,
}

/// The frames of a request or an answer.
pub fn encode(number: u64, json: &impl Serialize, contents: &[Vec<u8>]) -> Vec<Vec<u8>> {
    // Strings, numbers, lists and maps can always be serialised.
    let json = serde_json::to_vec(json).unwrap_or_default();
    let split = |bytes: &[u8]| bytes.chunks(NODE_FRAME_MAX).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let mut frames = vec![number.to_string().into_bytes(), (json.len()).to_string().into_bytes()];
    frames.extend(split(&json));
    frames.extend(contents.iter().flat_map(|content| split(content)));
    frames
}

/// Reads a request: its number, the request, and the contents of the files that follow it.
///
/// # Errors
/// What is wrong with the frames, in words.
pub fn decode_ask(frames: &[Vec<u8>]) -> Result<(u64, HostRequest, Vec<Vec<u8>>), String> {
    let (number, ask, mut rest) = decode::<HostRequest>(frames)?;
    let mut contents = Vec::new();
    if let HostRequest::Deploy(bundle) = &ask {
        for file in &bundle.files {
            let mut content = Vec::new();
            while content.len() < file.bytes {
                let (first, others) = rest.split_first().ok_or("a file of the bundle is not whole")?;
                content.extend_from_slice(first);
                rest = others;
            }
            if content.len() != file.bytes {
                return Err("a file of the bundle has another length".into());
            }
            contents.push(content);
        }
    }
    if rest.is_empty() { Ok((number, ask, contents)) } else { Err("there are frames left".into()) }
}

/// Reads an answer, and the number of its request.
///
/// # Errors
/// What is wrong with the frames, in words.
pub fn decode_told(frames: &[Vec<u8>]) -> Result<(u64, HostReply), String> {
    decode(frames).map(|(number, told, _)| (number, told))
}

fn decode<T: DeserializeOwned>(frames: &[Vec<u8>]) -> Result<(u64, T, &[Vec<u8>]), String> {
    let [number, length, rest @ ..] = frames else { return Err("it has no number".into()) };
    let read = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<u64>().ok());
    let (Some(number), Some(length)) = (read(number), read(length)) else { return Err("its number is none".into()) };
    let length = usize::try_from(length).map_err(|_| "its length is none")?;
    let mut json = Vec::new();
    let mut rest = rest;
    while json.len() < length {
        let (first, others) = rest.split_first().ok_or("its JSON is not whole")?;
        json.extend_from_slice(first);
        rest = others;
    }
    let read = json::from_slice(&json).map_err(|error| format!("its JSON cannot be understood: {error}"))?;
    Ok((number, read, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_with_its_files_comes_back() {
        let contents = vec![vec![7; NODE_FRAME_MAX + 1], Vec::new(), b"x".to_vec()];
        let files = contents.iter().zip(["a.toml", "b/c.toml", "d"]);
        let files = files.map(|(content, path)| BundleFile { path: path.into(), bytes: content.len() }).collect();
        let ask = HostRequest::Deploy(Bundle { instance: "shop".into(), file: "a.toml".into(), files });
        let frames = encode(3, &ask, &contents);
        assert!(frames.iter().all(|frame| frame.len() <= NODE_FRAME_MAX));
        assert_eq!(decode_ask(&frames), Ok((3, ask, contents)));
        assert!(decode_ask(&frames[..frames.len() - 1]).is_err());
        assert!(decode_ask(&[frames.clone(), vec![b"y".to_vec()]].concat()).is_err());
        assert_eq!(decode_ask(&encode(1, &HostRequest::Hosts, &[])).unwrap().1, HostRequest::Hosts);
    }

    #[test]
    fn what_is_no_question_is_an_error() {
        for frames in
            [vec![], vec![b"1".to_vec()], vec![b"x".to_vec(), b"2".to_vec()], vec![b"1".to_vec(), b"9".to_vec()]]
        {
            assert!(decode_ask(&frames).is_err(), "{frames:?}");
        }
        assert!(decode_ask(&[b"1".to_vec(), b"2".to_vec(), b"{}".to_vec()]).is_err());
        let told = HostReply::Refused { message: "no".into() };
        assert_eq!(decode_told(&encode(9, &told, &[])), Ok((9, told)));
    }
}
