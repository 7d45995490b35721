//! What the root keeps of its tree: the file that it came from, and what is written down of it for tools.
//!
//! At SIGHUP the root reads its file again, with the environment that it was started with. The disk with the file may
//! not answer, nor may the source of the users that it names: a thread reads, and the loop is notified when it is done.

use crate::ids::{Name, Path};
use crate::instance::runtime::{InstanceFile, LogFile, TreePath};
use crate::instance::state::StateDir;
use crate::node::context::Context;
use crate::node::reach;
use crate::node::reactor::{Reactor, Source};
use crate::os::accounts::{self, Wanted};
use crate::os::cgroup::demand::{self, Below};
use crate::os::epoll::Tag;
use crate::os::thread;
use crate::os::wake::Wake;
use crate::spec::exec::LogSpec;
use crate::spec::tree::{ChildKind, Containment, JournalSpec, SupervisorSpec, TreeSpec};
use crate::spec::{self, diff};
use crate::time::Span;
use serde::{Deserialize, Serialize};
use slog::{Logger, error, warn};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

/// What a disk has for a small file before the loop goes on without it.
const OUTPUTS: Span = Span::from_millis(100);

/// What only the root keeps of its tree.
pub(in crate::node) struct TreeFile {
    instance: InstanceFile,
    /// Where it is written down for later what the workers' output is written to.
    outputs: Option<StateDir>,
    containment: Containment,
    journal: Option<JournalSpec>,
    /// The number of the last reload.
    generation: u64,
    /// What the root was, and the file that it came from, before reloads of which none is complete.
    before: Option<Box<(SupervisorSpec, PathBuf)>>,
    /// The file, while it is read again.
    reading: Option<Reading>,
}

/// The same as another image of the program goes on with it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct CarriedFile {
    instance: InstanceFile,
    #[serde(with = "crate::files::exact::option")]
    outputs: Option<PathBuf>,
    containment: Containment,
    journal: Option<JournalSpec>,
    generation: u64,
    before: Option<Box<(SupervisorSpec, Config)>>,
}

/// The file of a tree.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Config(#[serde(with = "crate::files::exact")] PathBuf);

/// A file that is being read.
struct Reading {
    result: Receiver<spec::Read>,
    wake: Arc<Wake>,
    tag: Tag,
    file: PathBuf,
}

impl TreeFile {
    pub(crate) fn new(
        instance: InstanceFile,
        outputs: Option<StateDir>,
        containment: Containment,
        journal: Option<JournalSpec>,
    ) -> TreeFile {
        TreeFile { instance, outputs, containment, journal, generation: 0, before: None, reading: None }
    }

    /// Whether it is being read again.
    pub(crate) fn is_being_read(&self) -> bool {
        self.reading.is_some()
    }

    /// What goes over.
    pub(crate) fn pack(&self) -> CarriedFile {
        let TreeFile { instance, outputs, containment, journal, generation, before, reading: _ } = self;
        let before = before.as_deref().map(|(spec, config)| Box::new((spec.clone(), Config(config.clone()))));
        CarriedFile {
            instance: instance.clone(),
            outputs: outputs.as_ref().map(|state| state.path().to_path_buf()),
            containment: *containment,
            journal: *journal,
            generation: *generation,
            before,
        }
    }

    /// That of another image of the program.
    pub(crate) fn unpack(carried: CarriedFile) -> TreeFile {
        let CarriedFile { mut instance, outputs, containment, journal, generation, before } = carried;
        instance.version = env!("CARGO_PKG_VERSION").to_string();
        let outputs = outputs.map(|path| StateDir::at(&path));
        let before = before.map(|before| Box::new((before.0, before.1.0)));
        TreeFile { instance, outputs, containment, journal, generation, before, reading: None }
    }

    /// What tools are to find of the instance.
    pub(crate) fn instance(&self) -> &InstanceFile {
        &self.instance
    }

    pub(crate) fn set_keeper(&mut self, pid: u32) {
        self.instance.keeper_pid = Some(pid);
    }

    /// The whole tree around what its root is now, and the file that it came from.
    pub(crate) fn tree(&self, root: SupervisorSpec) -> (TreeSpec, PathBuf) {
        let TreeFile { instance, containment, journal, .. } = self;
        let tree = TreeSpec {
            name: instance.name.clone(),
            containment: *containment,
            journal: *journal,
            // Of interest where it is deployed, and nowhere in a tree that runs.
            placement: None,
            root,
        };
        (tree, instance.config.clone())
    }

    /// A reload is complete: there is nothing to go back to.
    pub(crate) fn settled(&mut self) {
        self.before = None;
    }

    /// The tree before reloads of which none is complete, and the file that it came from.
    pub(crate) fn before(&self) -> Option<(TreeSpec, PathBuf)> {
        let (root, config) = self.before.as_deref()?.clone();
        Some((TreeSpec { root, ..self.tree(SupervisorSpec::default()).0 }, config))
    }

    /// The root, which is `before` now, is to have another tree. Gives the number of that reload.
    ///
    /// # Errors
    /// Why that cannot be.
    pub(crate) fn change(
        &mut self,
        tree: &TreeSpec,
        prune: bool,
        config: Option<PathBuf>,
        before: SupervisorSpec,
    ) -> Result<u64, diff::Refused> {
        // Compared without their children: only the top level can refuse.
        let empty = |name: &Name, containment, journal| TreeSpec {
            name: name.clone(),
            containment,
            journal,
            placement: None,
            root: SupervisorSpec::default(),
        };
        let now = empty(&self.instance.name, self.containment, self.journal);
        diff::diff(&now, &empty(&tree.name, tree.containment, tree.journal), prune)?;
        self.generation += 1;
        if self.before.is_none() {
            self.before = Some(Box::new((before.into_file_form(), self.instance.config.clone())));
        }
        if let Some(config) = config {
            self.instance.config = config;
        }
        Ok(self.generation)
    }

    /// Writes down the paths of the tree, which are others by now.
    pub(crate) fn write(&mut self, root: &SupervisorSpec, context: &Context) {
        self.instance.tree_paths.clear();
        tree_paths(&Path::root(), root, &mut self.instance.tree_paths);
        if let Err(error) = context.place.runtime.write_instance(&self.instance) {
            warn!(context.logger, "cannot save the paths of the tree"; "error" => %error);
        }
        self.write_outputs(&context.logger);
    }

    /// Writes down where the workers' output can be read when nothing runs. A disk that does not answer is not waited
    /// for.
    pub(crate) fn write_outputs(&self, logger: &Logger) {
        let Some(state) = self.outputs.clone() else { return };
        let (logger, tree_paths) = (logger.clone(), self.instance.tree_paths.clone());
        thread::briefly(OUTPUTS, move || {
            if let Err(error) = state.write_outputs(&tree_paths) {
                warn!(logger, "cannot save the list of log files: `treevisor logs` will not find them when \
                    nothing runs"; "directory" => %state.path().display(), "error" => %error);
            }
        });
    }

    /// Begins to read the file that the tree came from.
    pub(crate) fn read_again(&mut self, context: &Context, reactor: &mut Reactor) {
        let file = self.instance.config.clone();
        if file.as_os_str().is_empty() {
            warn!(context.logger, "SIGHUP: nothing to reload, the tree was started without a file");
            return;
        }
        if self.reading.is_some() {
            warn!(context.logger, "SIGHUP: the file is still being read; its disk does not respond";
                "file" => %file.display());
            return;
        }
        match Reading::begin(file, self.instance.cgroup.clone(), reactor) {
            Ok(reading) => self.reading = Some(reading),
            Err(error) => {
                error!(context.logger, "SIGHUP: the file cannot be read; nothing changed"; "error" => %error);
            }
        }
    }

    /// The file was read. Gives its tree, if it has one that can be, and its name.
    pub(crate) fn take_read(&mut self, context: &Context, reactor: &mut Reactor) -> Option<(TreeSpec, String)> {
        let Reading { result, wake, tag, file } = self.reading.take()?;
        reactor.unwatch(wake.as_raw_fd(), tag);
        let file = file.display().to_string();
        let Ok(read) = result.try_recv() else {
            error!(context.logger, "SIGHUP: the file cannot be read; nothing changed"; "file" => file);
            return None;
        };
        for wrong in read.errors() {
            error!(context.logger, "{}", wrong);
        }
        let Some(tree) = read.tree else {
            error!(context.logger, "SIGHUP: the file has errors; nothing changed"; "file" => file);
            return None;
        };
        if let Err(closed) = reach::check(&Path::root(), &tree.root, &context.place.runtime) {
            error!(context.logger, "SIGHUP: nothing changed: {}", closed; "file" => file);
            return None;
        }
        Some((tree, file))
    }
}

impl Reading {
    fn begin(
        file: PathBuf,
        cgroup: Option<PathBuf>,
        reactor: &mut Reactor,
    ) -> Result<Reading, Box<dyn std::error::Error>> {
        let wake = Arc::new(Wake::new()?);
        let (sender, result) = mpsc::channel();
        let tag = reactor.watch(wake.as_raw_fd(), Source::Reading)?;
        let (path, rings) = (file.clone(), Arc::clone(&wake));
        let started = thread::start_quiet("treevisor-file", move || {
            let mut read = spec::read_at_once(&path, &|name| std::env::var(name).ok());
            if let Some(tree) = &mut read.tree {
                let missing = accounts::look_up(tree, Wanted::Here);
                let limits = demand::object(tree, Wanted::Here, Below::Running(cgroup.as_deref()));
                read.object(missing.into_iter().chain(limits));
            }
            // A root that has ended meanwhile does not receive it.
            let _ = sender.send(read);
            rings.ring();
        });
        if let Err(error) = started {
            reactor.unwatch(wake.as_raw_fd(), tag);
            return Err(error.into());
        }
        Ok(Reading { result, wake, tag, file })
    }
}

/// All paths of a tree with their kinds, for code that must check a path without a request.
pub(in crate::node) fn tree_paths(at: &Path, spec: &SupervisorSpec, into: &mut Vec<TreePath>) {
    into.push(TreePath { path: at.clone(), supervisor: true, log: None });
    for child in &spec.children {
        let path = at.child(&child.name);
        match &child.kind {
            ChildKind::Worker(exec) => into.push(TreePath { path, supervisor: false, log: log_file(&exec.log) }),
            ChildKind::Supervisor(below) => tree_paths(&path, below, into),
        }
    }
}

/// Where a worker's output can be read again, for tools that run elsewhere than we do.
fn log_file(log: &LogSpec) -> Option<LogFile> {
    match log {
        LogSpec::File { file, keep, .. } => {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            Some(LogFile { file, keep: *keep })
        }
        LogSpec::Capture | LogSpec::Discard => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing;

    #[test]
    fn only_a_tree_of_the_same_name_and_containment_takes_the_place_of_another() {
        let tree =
            |name: &str| testing::tree(&format!("name = \"{name}\"\n[[child]]\nname = \"db\"\ncommand = [\"true\"]"));
        let first = tree("shop");
        let instance = InstanceFile {
            name: first.name.clone(),
            pid: 1,
            started_at: String::new(),
            version: String::new(),
            mark: String::new(),
            containment: "group".into(),
            cgroup: None,
            keeper_pid: None,
            config: "shop.toml".into(),
            tree_paths: Vec::new(),
        };
        let mut file = TreeFile::new(instance, None, first.containment, first.journal);
        let before = || first.root.clone();
        assert_eq!(file.change(&tree("shop"), false, Some("other.toml".into()), before()).ok(), Some(1));
        assert!(file.change(&tree("another"), false, None, before()).is_err());
        let later = SupervisorSpec::default();
        assert_eq!(file.change(&tree("shop"), false, None, later).ok(), Some(2), "one that was refused has no number");
        assert_eq!(file.before(), Some((first.clone(), "shop.toml".into())), "the first of them is gone back to");
        file.settled();
        assert_eq!(file.before(), None);
        let (now, config) = file.tree(first.root);
        assert_eq!((now.name.as_str(), config), ("shop", "other.toml".into()));
    }
}
