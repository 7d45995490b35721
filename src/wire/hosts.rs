//! What a tool asks the agent of its host, and what that answers.
//!
//! A question is one message: a number that stands in its answer, the length of its JSON, that JSON, and of a bundle
//! the files; JSON and files are split over as many frames as it takes. An answer is the same without files.

use super::look::{Kept, Page, Spot};
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

/// Most files of a bundle.
pub const BUNDLE_FILES_MAX: usize = 200;

/// What a tool asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum HostAsk {
    /// How the cluster is, as it is seen from here.
    Hosts,
    /// This tree is to run: its files follow in further frames, and it is brought to this host's disk.
    Deploy(Bundle),
    /// On which host the root of an instance runs.
    Locate {
        /// The instance.
        instance: String,
    },
    /// Where the bundle of an instance lies that is deployed.
    Bundle {
        /// The instance.
        instance: String,
    },
    /// Nothing is to run here any more.
    Drain,
    /// The end of that.
    Undrain,
    /// The same of a host by its name. A word of its own: an earlier agent would take `Drain` with a name for itself.
    DrainHost {
        /// Which one.
        host: String,
        /// To drain it, or to end that.
        draining: bool,
    },
    /// There are new keys of this host: it is to have them from now on.
    Rekey {
        /// The host's file, beside which they lie.
        file: PathBuf,
    },
    /// Another machine is to become a host.
    Invite {
        /// For so long it may.
        for_ms: u64,
    },
    /// Another host is off: the operator swears to it.
    Forget {
        /// Which one.
        host: String,
    },
    /// A page of what lies on a host's disk of what has happened.
    Look {
        /// Which host.
        host: String,
        /// What.
        kept: Kept,
        /// Where it begins.
        from: Spot,
    },
}

/// A tree's file and what it includes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The instance that it is.
    pub instance: String,
    /// The file that is started, as it is called among the files.
    pub file: String,
    /// All files, by their paths from the directory of that one. Their contents follow in this order, each split as
    /// long JSON is.
    pub files: Vec<BundleFile>,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleFile {
    /// Its path.
    pub path: String,
    /// Its length.
    pub bytes: usize,
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "told")]
pub enum HostTold {
    /// To `Hosts`.
    Hosts(Box<HostsView>),
    /// To `Deploy`: it is wanted, and lies on this host's disk.
    Deployed {
        /// What its content is called.
        digest: String,
        /// The same was deployed before, from another host or this one.
        again: bool,
        /// Live hosts that do not have it, and cannot run it before they do.
        without: Vec<String>,
        /// It was brought to the other hosts.
        #[serde(default)]
        brought: bool,
    },
    /// To `Locate`.
    Located {
        /// The host; `None` where it runs on none.
        host: Option<String>,
        /// It is the one that was asked.
        #[serde(default)]
        here: bool,
        /// It is deployed in this cluster.
        known: bool,
        /// The directory below which a tool finds it as one that runs here: what is sent there is passed on. `None`
        /// where its host cannot be reached from this one.
        #[serde(default)]
        via: Option<String>,
    },
    /// To `Bundle`.
    Bundle {
        /// The file on this host's disk; `None` where nothing of it is deployed, or this host does not have it.
        file: Option<String>,
    },
    /// To `Invite`.
    Invited {
        /// What is typed on that machine, after `treevisor host join`.
        line: String,
    },
    /// To `Look`.
    Page(Page),
    /// It is done, or has begun.
    Done,
    /// It cannot be done.
    Refused {
        /// What is wrong, and what would be right.
        message: String,
    },
}

/// The cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostsView {
    /// What it is called.
    pub cluster: String,
    /// The host that this is seen from.
    pub here: String,
    /// Where its records are.
    pub store: StoreView,
    /// Its hosts, by name.
    pub hosts: Vec<HostView>,
    /// What is deployed.
    pub instances: Vec<PlacedView>,
}

/// The store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreView {
    /// What kind of store it is.
    pub kind: String,
    /// `ok` or `lost`.
    pub state: String,
    /// Where it is.
    pub endpoints: Vec<String>,
    /// How many members with a vote it has, where hosts of the cluster run them.
    #[serde(default)]
    pub members: Option<u64>,
    /// How long ago it has answered.
    pub age_ms: Option<u64>,
    /// How large it is.
    pub size_bytes: Option<u64>,
    /// How large it may become.
    pub quota_bytes: Option<u64>,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostView {
    /// Its name.
    pub name: String,
    /// `live`, `draining` or `lost`.
    pub state: String,
    /// Which life of it this is.
    pub epoch: u64,
    /// How much of its lease is left.
    pub lease_left_ms: Option<u64>,
    /// `up` or `down`: whether its agent is received from here; `None` of the host itself, and where agents do not
    /// connect to each other.
    pub link: Option<String>,
    /// Why it is down, where that is known.
    #[serde(default)]
    pub link_note: Option<String>,
    /// How many trees run there.
    pub placed: u32,
    /// What can be required of it.
    pub labels: BTreeMap<String, String>,
    /// Nothing new is started there.
    pub draining: bool,
    /// The version of its program.
    pub version: String,
    /// The protocol of its agent.
    pub protocol: u32,
    /// It has cgroups that can be killed with one write.
    pub cgroup: bool,
    /// It has a vote in the store, and nothing is placed there. Absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub witness: bool,
    /// Where its agent listens.
    pub address: Option<String>,
    /// What keeps it from being of use.
    pub note: Option<String>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedView {
    /// Its name.
    pub instance: String,
    /// `up` or `down`, as it is wanted.
    pub wanted: String,
    /// What its content is called.
    pub digest: Option<String>,
    /// Where its root runs.
    pub host: Option<String>,
    /// The number of its claim.
    pub token: Option<u64>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// What there is to be shown.
    pub note: Option<String>,
    /// The hosts, the best first.
    pub candidates: Vec<CandidateView>,
}

/// The frames of a question or an answer.
pub fn encode(number: u64, json: &impl Serialize, contents: &[Vec<u8>]) -> Vec<Vec<u8>> {
    // Of strings, numbers, lists and maps: that can always be written.
    let json = serde_json::to_vec(json).unwrap_or_default();
    let split = |bytes: &[u8]| bytes.chunks(NODE_FRAME_MAX).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let mut frames = vec![number.to_string().into_bytes(), (json.len()).to_string().into_bytes()];
    frames.extend(split(&json));
    frames.extend(contents.iter().flat_map(|content| split(content)));
    frames
}

/// A question, its number, and what follows it.
///
/// # Errors
/// What is wrong with it, in words.
pub fn decode_ask(frames: &[Vec<u8>]) -> Result<(u64, HostAsk, Vec<Vec<u8>>), String> {
    let (number, ask, mut rest) = decode::<HostAsk>(frames)?;
    let mut contents = Vec::new();
    if let HostAsk::Deploy(bundle) = &ask {
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

/// An answer, and the number of its question.
///
/// # Errors
/// What is wrong with it, in words.
pub fn decode_told(frames: &[Vec<u8>]) -> Result<(u64, HostTold), String> {
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
        let ask = HostAsk::Deploy(Bundle { instance: "shop".into(), file: "a.toml".into(), files });
        let frames = encode(3, &ask, &contents);
        assert!(frames.iter().all(|frame| frame.len() <= NODE_FRAME_MAX));
        assert_eq!(decode_ask(&frames), Ok((3, ask, contents)));
        assert!(decode_ask(&frames[..frames.len() - 1]).is_err());
        assert!(decode_ask(&[frames.clone(), vec![b"y".to_vec()]].concat()).is_err());
        assert_eq!(decode_ask(&encode(1, &HostAsk::Hosts, &[])).unwrap().1, HostAsk::Hosts);
    }

    #[test]
    fn what_is_no_question_is_an_error() {
        for frames in
            [vec![], vec![b"1".to_vec()], vec![b"x".to_vec(), b"2".to_vec()], vec![b"1".to_vec(), b"9".to_vec()]]
        {
            assert!(decode_ask(&frames).is_err(), "{frames:?}");
        }
        assert!(decode_ask(&[b"1".to_vec(), b"2".to_vec(), b"{}".to_vec()]).is_err());
        let told = HostTold::Refused { message: "no".into() };
        assert_eq!(decode_told(&encode(9, &told, &[])), Ok((9, told)));
    }
}
