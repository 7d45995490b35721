//! Sorts verbs by what they ask for, once, so that each later match has arms for exactly those that can get there.
//! Pure.

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
    /// About readers of events or of lines.
    Stream(StreamVerb),
    /// About the node or child at a path.
    At(Path, Change),
}

/// A request to a node about the tree as a whole, or its own part of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Tool {
    /// Whether the node answers.
    Ping,
    /// The present spec of the whole tree.
    Spec,
    /// Reload the tree with another spec.
    Reload(Reload),
    /// Go back to the tree before the reloads that are not complete.
    AbortReload,
    /// Upgrade the tree to another executable.
    Upgrade(Upgrade),
    /// Reload this node with its part of a new tree.
    ReloadBelow(ReloadBelow),
    /// Upgrade this node to another executable.
    UpgradeBelow(UpgradeBelow),
}

/// A new tree, for the root.
#[derive(Debug, Clone, PartialEq)]
pub struct Reload {
    /// The tree, as JSON of the checked types.
    pub tree: Value,
    /// Children that were added by hand are removed as well.
    pub prune: bool,
    /// The file that it came from.
    pub config: Option<PathBuf>,
}

/// Another executable, for the root.
#[derive(Debug, Clone, PartialEq)]
pub struct Upgrade {
    /// The absolute path of the executable.
    pub exe: PathBuf,
    /// Only check whether the upgrade is possible.
    pub check: bool,
}

/// A node's part of a new tree.
#[derive(Debug, Clone, PartialEq)]
pub struct ReloadBelow {
    /// The node and all below it, as JSON of the checked types.
    pub spec: Value,
    /// The heartbeat that it promises to its parent from now on, as JSON.
    pub heartbeat: Value,
    /// The number of this reload; the tree counts its reloads.
    pub generation: u64,
    /// Children that were added by hand are removed as well.
    pub prune: bool,
}

/// A node's part of an upgrade.
#[derive(Debug, Clone, PartialEq)]
pub struct UpgradeBelow {
    /// The path under which the executable can be opened, for a rehearsal.
    pub file: PathBuf,
    /// What distinguishes the executable from other files, as JSON.
    pub identity: Value,
    /// Only rehearse the upgrade.
    pub check: bool,
    /// Only nodes that do not run the executable yet are upgraded.
    pub rest: bool,
}

/// A request about a reader of events or lines.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamVerb {
    /// Events, from a number on, and those to come.
    Events {
        /// The path of the subtree.
        path: Path,
        /// The kinds of events; all if it is empty.
        kinds: Vec<String>,
        /// The number of the first event.
        from: Option<u64>,
        /// Go on with events to come.
        follow: bool,
    },
    /// What workers have printed.
    Logs(Query),
    /// The reader has received replies of its request.
    Seen {
        /// The number of the request.
        request: u64,
        replies: u32,
        /// The number of the last reply, if the reader has sent it.
        through: Option<u64>,
        /// Later replies are to be sent again.
        again: bool,
    },
    /// The reader ends.
    Unfollow {
        /// The number of its request.
        request: u64,
    },
    /// The reader is still there.
    StillFollowing {
        /// The number of its request.
        request: u64,
    },
}

/// Which lines a reader asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Of the workers at and below these paths.
    pub paths: Vec<Path>,
    /// At most so many of the last lines.
    pub lines: Option<u64>,
    /// No older lines than this, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Go on with lines to come.
    pub follow: bool,
}

impl Query {
    /// Whether lines of the worker at `path` are asked for.
    pub fn covers(&self, path: &Path) -> bool {
        self.paths.iter().any(|top| path.is_within(top))
    }

    /// The paths to ask a child node for: the node's own, or some below it. Empty if nothing of it is asked for.
    pub fn part_of(&self, node: &Path) -> Vec<Path> {
        if self.covers(node) {
            return vec![node.clone()];
        }
        self.paths.iter().filter(|path| path.is_within(node)).cloned().collect()
    }
}

/// A request about a child or a supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Change {
    Status {
        /// Include only these of its children.
        children: Option<Vec<Name>>,
    },
    /// Stop it in order.
    Stop,
    /// Stop it and start it again.
    Restart,
    /// Stop it, and start it on another host.
    Move {
        /// The host; without one, the agent chooses.
        to: Option<String>,
    },
    /// Kill it at once.
    Panic {
        /// Hold it down afterwards.
        hold: bool,
    },
    /// Send its process a signal.
    Signal { signal: i32 },
    /// Forget its failures.
    Reset,
    /// Start it, if it is down.
    Start,
    /// OTP's restart_child: start an idle child.
    RestartChild,
    /// OTP's delete_child: remove an idle child.
    DeleteChild,
    /// OTP's start_child: add a child below it.
    StartChild {
        /// The child, as JSON of the checked types.
        child: Value,
    },
    /// Stop it and remove it.
    RemoveChild,
    /// Change the number of workers of one `count` below it.
    Scale {
        /// The name that the `count` numbers, below the supervisor's path.
        group: Path,
        /// The new number of workers.
        count: u32,
        /// The specs of new workers, if copies differ by more than their names.
        copies: Vec<Value>,
    },
    /// Restart the workers of one `count` below it, one after another.
    RestartRolling {
        /// The name that the `count` numbers, below the supervisor's path.
        group: Path,
    },
}

impl Change {
    /// The common name of the workers that the change is about, if it is not about one child.
    pub fn group(&self) -> Option<&Path> {
        match self {
            Change::Scale { group, .. } | Change::RestartRolling { group } => Some(group),
            _ => None,
        }
    }

    /// Whether it changes one child, so that it can name an incarnation.
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

    /// The verb for this change, as it is sent to a child node.
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
            // The path is the common name of some workers, which is no child: the request goes to the supervisor above
            // them.
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
