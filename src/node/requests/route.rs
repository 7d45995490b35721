//! What a verb asks for: decided once, so that each match behind it has an arm for all that can come there and for
//! nothing else. Pure.

use crate::ids::{Name, Path};
use crate::wire::message::Verb;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// A request, by what kind of work it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// About the tree as a whole, or this node's part of it.
    Tool(Tool),
    /// About events or lines that go on coming.
    Stream(StreamVerb),
    /// About what stands at a path.
    At(Path, Change),
}

/// What is asked of a node as such.
#[derive(Debug, Clone, PartialEq)]
pub enum Tool {
    /// Is it there?
    Ping,
    /// The whole tree as it is now.
    Spec,
    /// The tree is to become another one.
    Reload(Reload),
    /// The tree is to be what it was before the last reload.
    AbortReload,
    /// The tree is to go on with another executable.
    Upgrade(Upgrade),
    /// This node is to become another one.
    ReloadBelow(ReloadBelow),
    /// This node is to go on with another executable.
    UpgradeBelow(UpgradeBelow),
}

/// Another tree, for the root.
#[derive(Debug, Clone, PartialEq)]
pub struct Reload {
    /// The tree, as JSON of the checked types.
    pub tree: Value,
    /// Children that were added by hand go as well.
    pub prune: bool,
    /// The file that it came from.
    pub config: Option<PathBuf>,
}

/// Another executable, for the root.
#[derive(Debug, Clone, PartialEq)]
pub struct Upgrade {
    /// It, by its absolute path.
    pub exe: PathBuf,
    /// It is only tried whether it could be done.
    pub check: bool,
}

/// A node's part of another tree.
#[derive(Debug, Clone, PartialEq)]
pub struct ReloadBelow {
    /// It and all below it, as JSON of the checked types.
    pub spec: Value,
    /// What it promises to its parent from now on, as JSON.
    pub heartbeat: Value,
    /// The number of the reload in the life of the tree.
    pub generation: u64,
    /// Children that were added by hand go as well.
    pub prune: bool,
}

/// A node's part of an upgrade.
#[derive(Debug, Clone, PartialEq)]
pub struct UpgradeBelow {
    /// Where the executable is opened, for a rehearsal.
    pub file: PathBuf,
    /// What distinguishes it from other files, as JSON.
    pub identity: Value,
    /// Only a rehearsal.
    pub check: bool,
    /// Nodes that run the executable already stay as they are.
    pub rest: bool,
}

/// What is asked about readers of events or lines.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamVerb {
    /// Events, from a number on.
    Events {
        /// Where.
        path: Path,
        /// Of which kinds; of all when it is empty.
        kinds: Vec<String>,
        /// Not those before this number.
        from: Option<u64>,
        /// Go on with those to come.
        follow: bool,
    },
    /// What workers have printed.
    Logs(Query),
    /// Replies of this request were read.
    Seen {
        /// Its number.
        request: u64,
        /// How many.
        replies: u32,
        /// The number of the last one, if the reader has sent it.
        through: Option<u64>,
        /// Those after it are to be sent again.
        again: bool,
    },
    /// The reader of this request goes.
    Unfollow {
        /// Its number.
        request: u64,
    },
    /// The reader of this request is still there.
    StillFollowing {
        /// Its number.
        request: u64,
    },
}

/// Which lines a reader asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Of the workers at and below these.
    pub paths: Vec<Path>,
    /// So many of the last ones at most.
    pub lines: Option<u64>,
    /// None that are older, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Go on with those to come.
    pub follow: bool,
}

impl Query {
    /// Whether the lines of this path are wanted.
    pub fn covers(&self, path: &Path) -> bool {
        self.paths.iter().any(|top| path.is_within(top))
    }

    /// What is wanted of a node below: all of it, or some of what is below it in turn. Empty for nothing.
    pub fn part_of(&self, node: &Path) -> Vec<Path> {
        if self.covers(node) {
            return vec![node.clone()];
        }
        self.paths.iter().filter(|path| path.is_within(node)).cloned().collect()
    }
}

/// What is asked of a child or a supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Change {
    /// How it is.
    Status {
        /// Of its children only these.
        children: Option<Vec<Name>>,
    },
    /// An orderly stop.
    Stop,
    /// A stop and a start.
    Restart,
    /// A stop, and a start on another host.
    Move {
        /// On this one.
        to: Option<String>,
    },
    /// Its end at once.
    Panic {
        /// It stays down.
        hold: bool,
    },
    /// A signal to its process.
    Signal {
        /// Which.
        signal: i32,
    },
    /// Its failures are forgotten.
    Reset,
    /// A start, where it is down.
    Start,
    /// A start of what is idle.
    RestartChild,
    /// What is idle is forgotten.
    DeleteChild,
    /// Another child below it.
    StartChild {
        /// The child, as JSON of the checked types.
        child: Value,
    },
    /// A stop, and it is forgotten.
    RemoveChild,
    /// Other numbers of workers of one `count` below it.
    Scale {
        /// The name that the `count` numbers, below the supervisor's path.
        group: Path,
        /// How many.
        count: u32,
        /// Those that are new, where copies differ by more than their names.
        copies: Vec<Value>,
    },
    /// The workers of one `count` below it are started anew one after another.
    RestartRolling {
        /// The name that the `count` numbers, below the supervisor's path.
        group: Path,
    },
}

impl Change {
    /// Where it is meant: not at a child, but at what several have in common.
    pub fn group(&self) -> Option<&Path> {
        match self {
            Change::Scale { group, .. } | Change::RestartRolling { group } => Some(group),
            _ => None,
        }
    }

    /// Whether it is something that is done to one child, and so to an incarnation of it.
    pub(super) fn is_about_one(&self) -> bool {
        match self {
            Change::Stop
            | Change::Restart
            | Change::Move { .. }
            | Change::Panic { .. }
            | Change::Signal { .. }
            | Change::Reset
            | Change::Start
            | Change::RestartChild
            | Change::DeleteChild
            | Change::RemoveChild => true,
            Change::Status { .. }
            | Change::StartChild { .. }
            | Change::Scale { .. }
            | Change::RestartRolling { .. } => false,
        }
    }

    /// As it is passed down.
    pub fn at(self, path: Path) -> Verb {
        match self {
            Change::Status { children } => Verb::Status { path, children },
            Change::Stop => Verb::Stop { path },
            Change::Restart => Verb::Restart { path },
            Change::Move { to } => Verb::Move { path, to },
            Change::Panic { hold } => Verb::Panic { path, hold },
            Change::Signal { signal } => Verb::Signal { path, signal },
            Change::Reset => Verb::Reset { path },
            Change::Start => Verb::Start { path },
            Change::RestartChild => Verb::RestartChild { path },
            Change::DeleteChild => Verb::DeleteChild { path },
            Change::StartChild { child } => Verb::StartChild { path, child },
            Change::RemoveChild => Verb::RemoveChild { path },
            Change::Scale { group, count, copies } => Verb::Scale { path: group, count, copies },
            Change::RestartRolling { group } => Verb::RestartRolling { path: group },
        }
    }
}

impl From<Verb> for Asked {
    fn from(verb: Verb) -> Asked {
        match verb {
            Verb::Ping => Asked::Tool(Tool::Ping),
            Verb::Spec => Asked::Tool(Tool::Spec),
            Verb::Reload { tree, prune, config } => Asked::Tool(Tool::Reload(Reload { tree, prune, config })),
            Verb::AbortReload => Asked::Tool(Tool::AbortReload),
            Verb::Upgrade { exe, check } => Asked::Tool(Tool::Upgrade(Upgrade { exe, check })),
            Verb::ReloadBelow { path: _, spec, heartbeat, generation, prune } => {
                Asked::Tool(Tool::ReloadBelow(ReloadBelow { spec, heartbeat, generation, prune }))
            }
            Verb::UpgradeBelow { path: _, file, identity, check, rest } => {
                Asked::Tool(Tool::UpgradeBelow(UpgradeBelow { file, identity, check, rest }))
            }
            Verb::Events { path, kinds, from, follow } => {
                Asked::Stream(StreamVerb::Events { path, kinds, from, follow })
            }
            Verb::Logs { paths, lines, since_ms, follow } => {
                Asked::Stream(StreamVerb::Logs(Query { paths, lines, since_ms, follow }))
            }
            Verb::LogsSeen { request, replies, through, again } => {
                Asked::Stream(StreamVerb::Seen { request, replies, through, again })
            }
            Verb::Unfollow { request } => Asked::Stream(StreamVerb::Unfollow { request }),
            Verb::StillFollowing { request } => Asked::Stream(StreamVerb::StillFollowing { request }),
            Verb::Status { path, children } => Asked::At(path, Change::Status { children }),
            Verb::Stop { path } => Asked::At(path, Change::Stop),
            Verb::Restart { path } => Asked::At(path, Change::Restart),
            Verb::Move { path, to } => Asked::At(path, Change::Move { to }),
            Verb::Panic { path, hold } => Asked::At(path, Change::Panic { hold }),
            Verb::Signal { path, signal } => Asked::At(path, Change::Signal { signal }),
            Verb::Reset { path } => Asked::At(path, Change::Reset),
            Verb::Start { path } => Asked::At(path, Change::Start),
            Verb::RestartChild { path } => Asked::At(path, Change::RestartChild),
            Verb::DeleteChild { path } => Asked::At(path, Change::DeleteChild),
            Verb::StartChild { path, child } => Asked::At(path, Change::StartChild { child }),
            Verb::RemoveChild { path } => Asked::At(path, Change::RemoveChild),
            // The path names workers by what they have in common, which is no child: the way goes to the supervisor
            // above.
            Verb::Scale { path, count, copies } => {
                Asked::At(path.parent().unwrap_or_else(Path::root), Change::Scale { group: path, count, copies })
            }
            Verb::RestartRolling { path } => {
                Asked::At(path.parent().unwrap_or_else(Path::root), Change::RestartRolling { group: path })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    #[test]
    fn a_change_is_passed_down_as_it_came() {
        let at = path("/web/in/a");
        let verbs = [
            Verb::status(at.clone()),
            Verb::Status { path: at.clone(), children: Some(vec![Name::parse("a").unwrap()]) },
            Verb::Panic { path: at.clone(), hold: true },
            Verb::Move { path: at.clone(), to: Some("b".into()) },
            Verb::Signal { path: at.clone(), signal: 10 },
            Verb::StartChild { path: at.clone(), child: Value::Null },
            Verb::Scale { path: at.clone(), count: 3, copies: vec![Value::Null] },
            Verb::RestartRolling { path: at },
        ];
        for verb in verbs {
            let Asked::At(path, change) = Asked::from(verb.clone()) else { panic!("{verb:?}") };
            assert_eq!(change.at(path), verb);
        }
    }

    #[test]
    fn a_node_below_is_asked_for_its_part_of_the_lines() {
        let paths = ["/web/api", "/web/jobs", "/db"].map(path).to_vec();
        let query = Query { paths, lines: None, since_ms: None, follow: false };
        assert_eq!(query.part_of(&path("/web")), [path("/web/api"), path("/web/jobs")]);
        assert_eq!(query.part_of(&path("/web/jobs")), [path("/web/jobs")]);
        assert_eq!(query.part_of(&path("/web/jobs/a")), [path("/web/jobs/a")]);
        assert!(query.part_of(&path("/mail")).is_empty());
        assert!(query.covers(&path("/db")) && !query.covers(&path("/web")) && !query.covers(&path("/dbx")));
    }
}
