//! What the root keeps of its tree as a whole: the file that it came from, and what is saved about it for tools.
//!
//! At SIGHUP the root reads the file again, with the environment that it was started with. The file's disk or the user
//! database may not answer; so a thread reads the file, and wakes the loop when it is done.

use super::state_lock;
use crate::ids::{Name, Path};
use crate::instance::runtime::{InstanceFile, LogFile, TreePath};
use crate::instance::state::StateDir;
use crate::node::context::Context;
use crate::node::luggage::{Number, Packing, Unpacking};
use crate::node::reach;
use crate::node::reactor::{Reactor, Source};
use crate::os::accounts::Wanted;
use crate::os::cgroup::demand::Below;
use crate::os::epoll::Tag;
use crate::os::lock::LockFile;
use crate::os::machine;
use crate::os::thread;
use crate::os::wake::Wake;
use crate::spec::exec::LogSpec;
use crate::spec::tree::{ChildKind, Containment, JournalSpec, SupervisorSpec, TreeSpec};
use crate::spec::{self, diff};
use crate::time::Span;
use crate::wire::snapshot::Kind;
use serde::{Deserialize, Serialize};
use slog::{Logger, error, warn};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

/// How long the loop waits for a disk to write a small file before it goes on.
const OUTPUTS: Span = Span::from_millis(100);

/// What the root keeps of its tree as a whole.
pub(in crate::node) struct TreeFile {
    instance: InstanceFile,
    /// The directory in which the list of the workers' log files is saved, so that they are found when nothing runs.
    outputs: Option<StateDir>,
    /// The lock on that directory. It is released with this, after the keeper has written the journal.
    state_lock: Option<LockFile>,
    containment: Containment,
    journal: Option<JournalSpec>,
    /// How many reloads the tree has had.
    generation: u64,
    /// The tree's root and its file before the reloads since the last complete one, to go back to; `None` if the last
    /// reload is complete.
    before: Option<Box<(SupervisorSpec, PathBuf)>>,
    /// Set while the file is read again.
    reading: Option<Reading>,
}

/// The same in the snapshot of a hot upgrade.
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
    /// Missing where none is held, as in the snapshot of an earlier version: then it is taken after the upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state_lock: Option<Number>,
}

/// The path of the tree's file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Config(#[serde(with = "crate::files::exact")] PathBuf);

/// A file that is being read.
struct Reading {
    result: Receiver<spec::Read>,
    wake: Arc<Wake>,
    tag: Tag,
    file: PathBuf,
    /// Another SIGHUP has come meanwhile: the file may have changed since it was read.
    again: bool,
}

impl TreeFile {
    pub(crate) fn new(
        instance: InstanceFile,
        state: Option<(StateDir, Option<LockFile>)>,
        containment: Containment,
        journal: Option<JournalSpec>,
    ) -> TreeFile {
        let (outputs, state_lock) = state.map_or((None, None), |(state, lock)| (Some(state), lock));
        TreeFile { instance, outputs, state_lock, containment, journal, generation: 0, before: None, reading: None }
    }

    /// Whether the file is being read again.
    pub(crate) fn is_being_read(&self) -> bool {
        self.reading.is_some()
    }

    /// What of this goes into the snapshot of an upgrade.
    pub(crate) fn pack(&self, packing: &mut Packing<'_>) -> CarriedFile {
        let TreeFile { instance, outputs, state_lock, containment, journal, generation, before, reading: _ } = self;
        let before = before.as_deref().map(|(spec, config)| Box::new((spec.clone(), Config(config.clone()))));
        CarriedFile {
            instance: instance.clone(),
            outputs: outputs.as_ref().map(|state| state.path().to_path_buf()),
            containment: *containment,
            journal: *journal,
            generation: *generation,
            before,
            state_lock: state_lock.as_ref().map(|lock| packing.descriptor(lock, Kind::File, "the journal's lock")),
        }
    }

    /// The same from the snapshot of the program that ran before.
    pub(crate) fn unpack(carried: CarriedFile, unpacking: &mut Unpacking<'_>) -> TreeFile {
        let CarriedFile { mut instance, outputs, containment, journal, generation, before, state_lock } = carried;
        instance.version = env!("CARGO_PKG_VERSION").to_string();
        let outputs = outputs.map(|path| StateDir::at(&path));
        let state_lock = match (state_lock, &outputs) {
            (Some(lock), _) => Some(LockFile::held_by(unpacking.take(lock))),
            // If another root holds it, both go on as before.
            (None, Some(state)) => state_lock::take(state).ok().flatten(),
            (None, None) => None,
        };
        let before = before.map(|before| Box::new((before.0, before.1.0)));
        TreeFile { instance, outputs, state_lock, containment, journal, generation, before, reading: None }
    }

    /// What tools read of the instance.
    pub(crate) fn instance(&self) -> &InstanceFile {
        &self.instance
    }

    pub(crate) fn set_keeper(&mut self, pid: u32) {
        self.instance.keeper_pid = Some(pid);
    }

    /// The whole tree, with this spec of its root, and the file that it came from.
    pub(crate) fn tree(&self, root: SupervisorSpec) -> (TreeSpec, PathBuf) {
        let TreeFile { instance, containment, journal, .. } = self;
        let tree = TreeSpec {
            name: instance.name.clone(),
            containment: *containment,
            journal: *journal,
            // Used where the tree is deployed to hosts; a running tree does not need it.
            placement: None,
            root,
        };
        (tree, instance.config.clone())
    }

    /// A reload is complete: the tree before it is forgotten.
    pub(crate) fn settled(&mut self) {
        self.before = None;
    }

    /// The tree before the reloads since the last complete one, and its file.
    pub(crate) fn before(&self) -> Option<(TreeSpec, PathBuf)> {
        let (root, config) = self.before.as_deref()?.clone();
        Some((TreeSpec { root, ..self.tree(SupervisorSpec::default()).0 }, config))
    }

    /// Begins a reload of the root, whose present spec is `before`. Returns the number of the reload.
    ///
    /// # Errors
    /// If a setting differs that cannot be changed while the tree runs.
    pub(crate) fn change(
        &mut self,
        tree: &TreeSpec,
        prune: bool,
        config: Option<PathBuf>,
        before: SupervisorSpec,
    ) -> Result<u64, diff::Refused> {
        // Compared without their children: only differences at the top level can be refused.
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

    /// Saves the paths of the tree, which have changed.
    pub(crate) fn write(&mut self, root: &SupervisorSpec, context: &Context) {
        self.instance.tree_paths.clear();
        tree_paths(&Path::root(), root, &mut self.instance.tree_paths);
        if let Err(error) = context.place.runtime.write_instance(&self.instance) {
            warn!(context.logger, "cannot save the paths of the tree"; "error" => %error);
        }
        self.write_outputs(&context.logger);
    }

    /// Saves where the workers' output can be read when nothing runs. A disk that does not answer is not waited for.
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

    /// Begins to read the tree's file in a thread.
    pub(crate) fn read_again(&mut self, context: &Context, reactor: &mut Reactor) {
        let file = self.instance.config.clone();
        if file.as_os_str().is_empty() {
            warn!(context.logger, "SIGHUP: nothing to reload, the tree was started without a file");
            return;
        }
        if let Some(reading) = &mut self.reading {
            reading.again = true;
            warn!(context.logger, "SIGHUP: the file is still being read; it is read once more after that";
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

    /// The file was read. Returns its tree, if the tree is valid, and the file's name; logs the errors otherwise.
    /// Begins to read it once more, if that was asked for meanwhile.
    pub(crate) fn take_read(&mut self, context: &Context, reactor: &mut Reactor) -> Option<(TreeSpec, String)> {
        let Reading { result, wake, tag, file, again } = self.reading.take()?;
        reactor.unwatch(wake.as_raw_fd(), tag);
        if again {
            self.read_again(context, reactor);
        }
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
                let below = Below::Running(cgroup.as_deref());
                let refused = machine::object(tree, Wanted::Here, below, std::process::id());
                read.object(refused);
            }
            // A root that has ended meanwhile does not receive the result.
            let _ = sender.send(read);
            rings.ring();
        });
        if let Err(error) = started {
            reactor.unwatch(wake.as_raw_fd(), tag);
            return Err(error.into());
        }
        Ok(Reading { result, wake, tag, file, again: false })
    }
}

/// All paths of a tree with their kinds, for code that has to check a path without asking a node.
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

/// The absolute path of a worker's log file, for tools whose working directory is another.
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
    use crate::instance::testing::instance;
    use crate::node::testing;
    use crate::os::fd;
    use std::os::fd::AsFd;

    #[test]
    fn a_file_that_is_asked_for_while_it_is_read_is_read_once_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tree.toml");
        let write = |child: &str| {
            std::fs::write(&path, format!("name = \"shop\"\n[[child]]\nname = \"{child}\"\ncommand = [\"true\"]"))
                .unwrap();
        };
        let (context, mut reactor) = (testing::context(), testing::reactor());
        let instance = InstanceFile { config: path.clone(), ..instance("shop") };
        let mut file = TreeFile::new(instance, None, Containment::Auto, None);
        let read = |file: &TreeFile| {
            let wake = &file.reading.as_ref().unwrap().wake;
            assert!(fd::wait_readable_any(&[wake.as_fd()], Some(Span::from_secs(60))).unwrap());
        };
        let name = |(tree, _): (TreeSpec, String)| tree.root.children[0].name.to_string();
        write("old");
        for _ in 0..3 {
            file.read_again(&context, &mut reactor);
        }
        read(&file);
        write("new");
        assert_eq!(file.take_read(&context, &mut reactor).map(name).as_deref(), Some("old"));
        read(&file);
        assert_eq!(file.take_read(&context, &mut reactor).map(name).as_deref(), Some("new"));
        assert!(!file.is_being_read(), "once more, however often it was asked for");
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_before_anything_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tree.toml");
        let text = "name = \"shop\"\n[[child]]\nname = \"a\"\ncommand = \"a\"\nlimits = { nofile = \"unlimited\" }\n";
        std::fs::write(&path, text).unwrap();
        let (context, mut reactor) = (testing::context(), testing::reactor());
        let instance = InstanceFile { config: path, ..instance("shop") };
        let mut file = TreeFile::new(instance, None, Containment::Auto, None);
        file.read_again(&context, &mut reactor);
        let wake = &file.reading.as_ref().unwrap().wake;
        assert!(fd::wait_readable_any(&[wake.as_fd()], Some(Span::from_secs(60))).unwrap());
        assert!(file.take_read(&context, &mut reactor).is_none());
    }

    #[test]
    fn only_a_tree_of_the_same_name_and_containment_takes_the_place_of_another() {
        let tree =
            |name: &str| testing::tree(&format!("name = \"{name}\"\n[[child]]\nname = \"db\"\ncommand = [\"true\"]"));
        let first = tree("shop");
        let instance = InstanceFile { config: "shop.toml".into(), ..instance("shop") };
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
