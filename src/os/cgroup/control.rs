//! Resource limits by cgroup v2: which controllers are available where, how they are passed down the tree, and which
//! files are written for a limit.
//!
//! A cgroup passes controllers on to its children by `cgroup.subtree_control`, and then may contain no processes
//! itself, cgroups(7). So if a tree has limits, its root and keeper move from the cgroup in which they were started to
//! a leaf beside the tree, `LEAF`. Other processes in that cgroup make limits impossible, since this program must not
//! move them.

use super::names::{BELOW, PREFIX};
use crate::spec::resources::{Amount, Cap, Controller, LimitKey, Resources};
use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

#[cfg(test)]
mod tests;

/// The cgroup for root and keeper, below the one in which the tree was started, once that passes on controllers. It is
/// left behind, empty, for the next tree.
const LEAF: &str = "treevisor";

/// The most bytes of a short file. The longest, `cpu.stat`, has a tenth of it.
const SHORT: usize = 4096;

/// How many of the other processes an error names.
const NAMED: usize = 3;

/// The controllers that a cgroup can pass on to the cgroups below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupControllers {
    /// Its directory below the mount of cgroup2.
    directory: PathBuf,
    /// The controllers that it has from the cgroup above.
    pub(super) available: Vec<Controller>,
    /// The controllers that it passes on.
    passed_on: Vec<Controller>,
    /// Why it cannot pass on more controllers; `None` if it can.
    obstacle: Option<String>,
}

impl CgroupControllers {
    /// Reads the files of a cgroup.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of(directory: &Path) -> io::Result<CgroupControllers> {
        let available = listed(directory, "cgroup.controllers")?;
        let passed_on = listed(directory, "cgroup.subtree_control")?;
        Ok(CgroupControllers {
            directory: directory.to_path_buf(),
            available,
            passed_on,
            obstacle: obstacle(directory),
        })
    }

    /// Why the cgroups below it cannot have this controller; `None` if they can.
    pub fn why_without(&self, controller: Controller) -> Option<String> {
        let CgroupControllers { directory, available, passed_on, obstacle } = self;
        let name = controller.name();
        if passed_on.contains(&controller) {
            return None;
        }
        if !available.contains(&controller) {
            let others: Vec<&str> = available.iter().map(|controller| controller.name()).collect();
            let others =
                if others.is_empty() { "nor any other".to_owned() } else { format!("only {}", others.join(", ")) };
            return Some(format!("the cgroup {} is passed no `{name}` controller, {others}", directory.display()));
        }
        obstacle.as_ref().map(|why| format!("the cgroup {} cannot pass on `{name}`: {why}", directory.display()))
    }
}

/// The controllers in such a file that this program uses.
fn listed(directory: &Path, file: &str) -> io::Result<Vec<Controller>> {
    let text = fs::read_to_string(directory.join(file))?;
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(Controller::ALL.into_iter().filter(|controller| words.contains(&controller.name())).collect())
}

/// Why no controller can be added to those that a cgroup passes on.
fn obstacle(directory: &Path) -> Option<String> {
    for file in ["cgroup.subtree_control", "cgroup.procs"] {
        if !may_write(&directory.join(file)) {
            return Some("it belongs to another user, and is not delegated to this one".to_owned());
        }
    }
    if is_top(directory) {
        return None;
    }
    let others: Vec<u32> = processes(directory).into_iter().filter(|pid| !is_ours(*pid)).collect();
    if others.is_empty() {
        return None;
    }
    let named = others.iter().take(NAMED).map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("{} ({pid})", crate::text::clean(name.trim_end()))
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = others.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("other processes run in it: {named}{more}"))
}

/// Whether it is the root of the hierarchy, which may contain processes and pass on controllers at the same time.
fn is_top(directory: &Path) -> bool {
    !directory.join("cgroup.type").exists()
}

fn may_write(file: &Path) -> bool {
    nix::unistd::access(file, nix::unistd::AccessFlags::W_OK).is_ok()
}

/// The processes directly in a cgroup.
fn processes(directory: &Path) -> Vec<u32> {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Whether a process runs this program: a root, its keeper, or a command that waits for them.
fn is_ours(pid: u32) -> bool {
    let program = |of: &str| {
        let file = fs::metadata(format!("/proc/{of}/exe")).ok()?;
        Some((file.dev(), file.ino()))
    };
    pid == std::process::id() || program("self").is_some_and(|own| program(&pid.to_string()) == Some(own))
}

/// Makes every cgroup from the one in which the tree was started down to `directory` pass on these controllers, so that
/// `directory` has them. Controllers that are not available are skipped; [`apply`] will miss their files.
///
/// # Errors
/// The first failure.
fn provide(directory: &Path, wanted: &[Controller]) -> io::Result<()> {
    let mut way: Vec<&Path> = Vec::new();
    for at in directory.ancestors() {
        way.extend(at.parent());
        if at.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes())) {
            break;
        }
    }
    let mut done = Ok(());
    for at in way.into_iter().rev() {
        done = done.and(pass_on(at, wanted));
    }
    done
}

/// Adds controllers to those that a cgroup passes on, one by one, since the kernel takes all of a write or nothing. The
/// processes of this program first leave the cgroup in which the tree was started: for a cgroup with processes the
/// kernel refuses some controllers, and with others makes cgroups below it that cannot hold processes.
fn pass_on(directory: &Path, wanted: &[Controller]) -> io::Result<()> {
    let passed_on = listed(directory, "cgroup.subtree_control")?;
    let missing: Vec<_> = wanted.iter().filter(|controller| !passed_on.contains(controller)).collect();
    if !missing.is_empty() && !is_top(directory) && !processes(directory).is_empty() {
        move_aside(directory)?;
        if let Some(why) = obstacle(directory) {
            let text = format!("{} cannot pass on a controller: {why}", directory.display());
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
    }
    let mut done = Ok(());
    for controller in missing {
        let written = write(&directory.join("cgroup.subtree_control"), &format!("+{}", controller.name()));
        done = done.and(written.map_err(|error| {
            let text = format!("{} cannot pass on `{}`: {error}", directory.display(), controller.name());
            io::Error::new(error.kind(), text)
        }));
    }
    done
}

/// Moves the processes of this program into the leaf, so that the cgroup is empty.
fn move_aside(directory: &Path) -> io::Result<()> {
    let leaf = directory.join(LEAF);
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for pid in processes(directory).into_iter().filter(|pid| is_ours(*pid)) {
        match write(&leaf.join("cgroup.procs"), &pid.to_string()) {
            // The process has ended.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            moved => moved?,
        }
    }
    Ok(())
}

/// Writes to an existing file: none can be created in a cgroup, and in another directory none may be.
pub(super) fn write(file: &Path, text: &str) -> io::Result<()> {
    File::options().write(true).open(file)?.write_all(text.as_bytes())
}

/// Reads a short file of a cgroup: by one read, since the kernel returns all of it at once. `fs::read_to_string` asks
/// for the size first, which is always 0, and then reads until there is no more.
pub(in crate::os) fn read(file: &Path) -> io::Result<String> {
    let mut bytes = [0; SHORT];
    let count = File::open(file)?.read(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

/// What percentages in a limit refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Memory of the machine, in bytes.
    pub memory: u64,
    /// The maximum number of processes and threads.
    pub pids: u64,
}

/// This machine, as it was at the first call.
pub fn machine() -> Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    *MACHINE.get_or_init(Machine::read)
}

impl Machine {
    /// Reads the values; unreadable ones are unlimited.
    fn read() -> Machine {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = total.and_then(|total| total.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        let number = |file: &str| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
        let pids = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"].into_iter().filter_map(number).min();
        Machine { memory: kib.map_or(u64::MAX, |kib| kib.saturating_mul(1024)), pids: pids.unwrap_or(u64::MAX) }
    }
}

/// A limit that is not in force.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnappliedLimit {
    /// The limit's key in the tree's file.
    pub key: Cow<'static, str>,
    /// Why, as the system reports it.
    pub why: String,
    /// The limit is `best-effort`: the tree may run without it.
    pub best_effort: bool,
}

/// The files and the value for one key.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    key: &'static str,
    /// The candidate files; the first that exists is used.
    files: &'static [&'static str],
    /// The value; `None` if the key is not set.
    text: Option<String>,
    /// The default in a new cgroup.
    neutral: &'static str,
    best_effort: bool,
}

/// All limits in the format of the kernel, cgroups(7).
fn settings(resources: &Resources, machine: &Machine) -> [Setting; 6] {
    fn one<T: Copy>(
        key: &'static str,
        files: &'static [&'static str],
        neutral: &'static str,
        cap: Option<Cap<T>>,
        text: impl Fn(T) -> String,
    ) -> Setting {
        Setting {
            key,
            files,
            text: cap.and_then(|cap| cap.value).map(text),
            neutral,
            best_effort: cap.is_some_and(|cap| cap.best_effort),
        }
    }
    let bytes = |amount: Amount| amount.of(machine.memory).to_string();
    let Resources { memory_max, memory_high, cpu_max, cpu_weight, pids_max, io_weight } = *resources;
    [
        // The order of `high` and `max` does not matter, as they are independent.
        one("memory-high", &["memory.high"], "max", memory_high, bytes),
        one("memory-max", &["memory.max"], "max", memory_max, bytes),
        one("cpu-max", &["cpu.max"], "max 100000", cpu_max, quota),
        one("cpu-weight", &["cpu.weight"], "100", cpu_weight, |weight| weight.to_string()),
        one("pids-max", &["pids.max"], "max", pids_max, |amount| amount.of(machine.pids).to_string()),
        // The second file belongs to the BFQ scheduler, on kernels without the first.
        one("io-weight", &["io.weight", "io.bfq.weight"], "100", io_weight, |weight| weight.to_string()),
    ]
}

/// Thousandths of a core as `QUOTA PERIOD` in microseconds. The kernel accepts no quota below 1 ms, so small values use
/// the longest period, 1 s.
fn quota(thousandths: u32) -> String {
    let period = if thousandths < 10 { 1_000_000 } else { 100_000 };
    format!("{} {period}", u64::from(thousandths) * period / 1000)
}

/// Sets the limits of a cgroup that had those of `before`, and provides the controllers for them. Returns the limits
/// that are not in force.
pub fn set(directory: &Path, before: &Resources, resources: &Resources) -> Vec<UnappliedLimit> {
    let mut wanted: Vec<Controller> = resources.limit_keys().map(|key| key.controller).collect();
    wanted.dedup();
    let provided = if wanted.is_empty() { Ok(()) } else { provide(directory, &wanted) };
    let mut unset = apply(directory, before, resources, &machine());
    if let Err(why) = provided {
        // This reason is more useful than the missing file.
        unset.iter_mut().for_each(|unset| unset.why = why.to_string());
    }
    unset
}

/// All of these limits as not in force, for the reason `why`.
pub fn without(resources: &Resources, why: &str) -> Vec<UnappliedLimit> {
    let unset =
        |key: LimitKey| UnappliedLimit { key: key.key.into(), why: why.to_owned(), best_effort: key.best_effort };
    resources.limit_keys().map(unset).collect()
}

/// Writes limits to the files of a cgroup. Returns those that are not in force.
fn apply(directory: &Path, before: &Resources, resources: &Resources, machine: &Machine) -> Vec<UnappliedLimit> {
    let mut unset = Vec::new();
    let before = settings(before, machine);
    for (was, setting) in before.into_iter().zip(settings(resources, machine)) {
        let Setting { key, files, text, neutral, best_effort } = setting;
        if text.is_none() && was.text.is_none() {
            continue;
        }
        let set = text.is_some();
        let text = text.unwrap_or_else(|| neutral.to_owned());
        let file = files.iter().map(|file| directory.join(file)).find(|file| file.exists());
        let written = match file {
            Some(file) => write(&file, &text),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", files[0]))),
        };
        if let (true, Err(error)) = (set, written) {
            unset.push(UnappliedLimit { key: key.into(), why: error.to_string(), best_effort });
        }
    }
    unset
}

/// Passes the memory controller on to the cgroups of the children in `base`, if `base` has it: with a memory limit
/// somewhere above, each worker's usage must be known, and the OOM killer must end a worker as a whole. Returns whether
/// `base` has it.
///
/// A cgroup that has the controller has its files. Checking for a file takes a quarter of the system calls of reading
/// the list of controllers, and most trees have no limit; this happens at each restart that creates a cgroup.
pub fn share_memory(base: &Path) -> bool {
    let above = base.parent().filter(|_| base.ends_with(BELOW));
    let mut comes = false;
    for at in above.into_iter().chain([base]) {
        comes = at.join("memory.max").exists();
        if comes {
            // If this fails, less is known about the use of memory.
            let _ = pass_on(at, &[Controller::Memory]);
        }
    }
    comes
}

/// Makes the OOM killer end all processes of a cgroup together. Has no effect without the memory controller.
pub fn end_as_a_whole(directory: &Path) {
    let _ = write(&directory.join("memory.oom.group"), "1");
}

/// A memory limit that was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The cgroup that has the limit.
    pub directory: PathBuf,
    /// The limit in bytes.
    pub bytes: u64,
}

/// How often cgroups have reached their memory limits, as of the last check.
#[derive(Debug, Default)]
pub struct OutOfMemory(std::collections::BTreeMap<PathBuf, u64>);

impl OutOfMemory {
    /// The cgroup whose limit was just reached: `directory`, or the nearest one above it whose counter has grown since
    /// it was last checked.
    pub fn reached(&mut self, directory: &Path) -> Option<Reached> {
        let mut found = None;
        for at in directory.ancestors() {
            // The root of the hierarchy has no limit, and the directories above it are no cgroups.
            let Ok(limit) = fs::read_to_string(at.join("memory.max")) else { break };
            let Some(count) = events(at, "memory.events.local", "oom") else { continue };
            let before = self.0.insert(at.to_path_buf(), count).unwrap_or(0);
            if let (None, true, Ok(bytes)) = (&found, count > before, limit.trim().parse()) {
                found = Some(Reached { directory: at.to_path_buf(), bytes });
            }
        }
        found
    }

    /// The counters, for [`OutOfMemory::after`].
    pub fn counts(&self) -> impl Iterator<Item = (&Path, u64)> {
        self.0.iter().map(|(directory, count)| (directory.as_path(), *count))
    }

    /// Goes on with counters that were read before.
    pub fn after(counts: impl IntoIterator<Item = (PathBuf, u64)>) -> OutOfMemory {
        OutOfMemory(counts.into_iter().collect())
    }

    /// Forgets a removed cgroup: a new one with the same name starts counting at zero.
    pub fn forget(&mut self, directory: &Path) {
        self.0.remove(directory);
    }
}

/// The count in the line `NAME COUNT` of a file.
pub(super) fn events(directory: &Path, file: &str, name: &str) -> Option<u64> {
    let text = read(&directory.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?.trim().parse().ok()
}
