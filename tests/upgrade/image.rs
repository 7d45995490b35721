//! The program that takes its own place, as a supervisor would: it has children, reads what one of them prints, and
//! carries both over.

use nix::sys::prctl;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use treevisor::os::exec::{self, Gap, Order, Resumed};
use treevisor::os::memory::{self, Mapped};
use treevisor::os::pidfd::PidFd;
use treevisor::os::signals::{self, Signals};
use treevisor::os::spawn::{self, PlanSpec};
use treevisor::os::{fd, kept, process, thread};
use treevisor::time::Span;
use treevisor::wire::snapshot::{self, Blob, Blobs, Descriptor, Draft, Facts, Kind, State};

/// The variable with the plan; a process that has it is an image and no test.
pub(crate) const PLAN: &str = "UPGRADE_TEST_PLAN";

/// What is to happen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// How often the program takes its own place.
    pub(crate) generations: usize,
    pub(crate) children: usize,
    /// The first image works beside its main thread.
    pub(crate) beside: bool,
    /// Every image has a ZeroMQ context and a socket, each before its fault.
    pub(crate) context: bool,
    /// What goes wrong in the first image that took the place of another.
    pub(crate) fault: Option<String>,
    /// Seconds until SIGALRM.
    pub(crate) limit: u32,
    /// SIGUSR1 comes in the gap.
    pub(crate) signal: bool,
    /// The process has a parent-death signal.
    pub(crate) death_signal: bool,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            generations: 1,
            children: 1,
            beside: false,
            context: false,
            fault: None,
            limit: 60,
            signal: false,
            death_signal: false,
        }
    }
}

/// What has happened.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Our number in each image that has committed.
    pub(crate) pids: Vec<u32>,
    /// Open descriptors in each, at the same moment of its life.
    pub(crate) descriptors: Vec<usize>,
    pub(crate) death_signals: Vec<i32>,
    pub(crate) came_back: Vec<String>,
    pub(crate) signals: Vec<String>,
    /// Lines that were read, and those that are not what was printed.
    pub(crate) lines: u64,
    pub(crate) torn: Vec<String>,
    pub(crate) children_alive: usize,
    pub(crate) children_reaped: usize,
    /// Descriptors that the first image was started with, besides the three streams.
    strangers: usize,
}

/// What is carried over, besides the half line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Carried {
    report: Report,
    children: Vec<(u32, i32)>,
    output: i32,
    half: Blob,
    left: usize,
}

struct Image {
    plan: Plan,
    report: Report,
    children: Vec<(u32, PidFd)>,
    output: OwnedFd,
    half: Vec<u8>,
    left: usize,
    _socket: Option<zmq::Socket>,
}

/// Runs this process as an image, if it is one.
pub(crate) fn run() -> Option<ExitCode> {
    let plan: Plan = serde_json::from_str(&std::env::var(PLAN).ok()?).expect("a plan");
    let report = match Resumed::take().expect("what was left") {
        None => first(plan),
        Some(resumed) => resume(plan, resumed),
    };
    println!("{}", serde_json::to_string(&report).unwrap());
    Some(ExitCode::SUCCESS)
}

fn first(plan: Plan) -> Report {
    signals::begin();
    // What the process that started us has left open.
    let strangers = descriptors();
    fd::keep_to_ourselves().unwrap();
    if plan.death_signal {
        prctl::set_pdeathsig(Signal::SIGTERM).unwrap();
    }
    let report = Report { strangers, death_signals: death_signal(), ..Report::default() };
    let beside = plan.beside;
    let work = move || {
        let _signals = Signals::install().unwrap();
        Image::start(plan, report).live()
    };
    if beside { thread::beside_main(work).unwrap() } else { work() }
}

fn resume(plan: Plan, resumed: Resumed) -> Report {
    let came_back = resumed.came_back().map(str::to_owned);
    signals::begin_in_place();
    let (snapshot, way_back) = resumed.arm(plan.limit).expect("the way back");
    let mut image = match Image::restore(plan, &snapshot, came_back.is_some()) {
        Ok(image) => image,
        Err(why) if why == "drop" => {
            drop(way_back);
            panic!("nothing was executed");
        }
        Err(why) => panic!("nothing was executed: {why}"),
    };
    drop(snapshot);
    image.report.came_back.extend(came_back);
    image.report.death_signals.extend(death_signal());
    let mut signals = Signals::install().unwrap();
    way_back.commit().unwrap();
    image.report.signals.extend(signals.drain().iter().map(|signal| format!("{signal:?}")));
    thread::beside_main(move || image.live()).unwrap()
}

/// Without the three streams, and without those of /dev/null, which `spawn` keeps in store.
fn descriptors() -> usize {
    let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let counts = |path: PathBuf| std::fs::read_link(path).is_ok_and(|target| target != Path::new("/dev/null"));
    let is_no_stream = |name: OsString| !matches!(name.to_str(), Some("0" | "1" | "2"));
    all.filter(|entry| is_no_stream(entry.file_name()) && counts(entry.path())).count() - 1
}

/// That of this thread, in a list.
fn death_signal() -> Vec<i32> {
    vec![prctl::get_pdeathsig().unwrap().map_or(0, |signal| signal as i32)]
}

impl Image {
    fn start(plan: Plan, report: Report) -> Image {
        const PRINTS: &str = "n=0; while :; do n=$((n + 1)); printf 'line %d of' $n; printf ' many\n'; done";
        let (output, writer) = fd::output_pipe().unwrap();
        let child = |number: usize| {
            let script = if number == 0 { PRINTS } else { "exec sleep 1000" };
            let argv = ["/bin/sh", "-c", script].iter().map(OsString::from).collect();
            let mut spec = PlanSpec::new(argv);
            spec.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
            spec.parent_death_signal = Some(libc::SIGKILL);
            if number == 0 {
                spec.stdout = Some(writer.as_fd());
            }
            let mut spawned = spawn::prepare(spec).unwrap().spawn().unwrap();
            if let Some(late) = &mut spawned.late {
                late.wait(Span::from_secs(60));
                late.outcome().expect("it is started by now").unwrap_or_else(|error| panic!("{error}"));
            }
            (spawned.pid, spawned.pidfd)
        };
        let children = (0..plan.children).map(child).collect();
        let socket = plan.context.then(socket);
        Image { left: plan.generations, plan, report, children, output, half: Vec::new(), _socket: socket }
    }

    fn restore(plan: Plan, snapshot: &OwnedFd, again: bool) -> Result<Image, String> {
        let mapped = Mapped::of(snapshot).map_err(|error| error.to_string())?;
        let read: Result<(State<Carried, ()>, Blobs<'_>), _> = snapshot::read(&mapped);
        let (state, blobs) = read.map_err(|error| error.to_string())?;
        for Descriptor { number, kind, of } in &state.descriptors {
            let found = kept::look(*number).map_err(|error| format!("descriptor {number}: {error}"))?;
            let right = match kind {
                Kind::Pidfd => found == kept::Kind::Pidfd(of.parse().ok()),
                _ => found == kept::Kind::Pipe,
            };
            if !right {
                return Err(format!("descriptor {number} is {found:?}, of {of}"));
            }
        }
        let Carried { report, children, output, half, left } = state.node;
        let take = |number| kept::take(number).map_err(|error| error.to_string());
        let pidfd = |(pid, number)| Ok((pid, PidFd::from_owned(take(number)?)));
        let children = children.into_iter().map(pidfd).collect::<Result<_, String>>()?;
        let half = blobs.get(half).map_err(|error| error.to_string())?.to_vec();
        let socket = plan.context.then(socket);
        let image = Image { report, children, output: take(output)?, half, left, _socket: socket, plan };
        if let Some(kind) = image.plan.fault.clone() {
            if kind == "drop" && !again {
                // What the program before needs is not to be closed on the way.
                std::mem::forget(image);
                return Err(kind);
            }
            match kind.strip_suffix("-always") {
                Some(kind) => fault(kind)?,
                None if !again => fault(&kind)?,
                None => {}
            }
        }
        Ok(image)
    }

    /// Works a while, then takes its own place, or ends.
    fn live(mut self) -> Report {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(5) || self.report.lines == 0 {
            self.read();
        }
        self.report.pids.push(std::process::id());
        self.report
            .descriptors
            .push(descriptors() - if self.report.pids.len() == 1 { self.report.strangers } else { 0 });
        if self.left == 0 { self.end() } else { self.take_own_place() }
    }

    fn read(&mut self) {
        let limit = Some(Span::from_millis(10));
        if !fd::wait_readable_any(&[self.output.as_fd()], limit).unwrap() {
            return;
        }
        let mut buffer = [0; 4096];
        let count = nix::unistd::read(&self.output, &mut buffer).unwrap();
        for byte in &buffer[..count] {
            if *byte != b'\n' {
                self.half.push(*byte);
                continue;
            }
            let line = String::from_utf8(std::mem::take(&mut self.half)).unwrap();
            self.report.lines += 1;
            if line != format!("line {} of many", self.report.lines) {
                self.report.torn.push(line);
            }
        }
    }

    fn take_own_place(self) -> ! {
        let mut draft = Draft::new();
        let half = draft.blob(self.half);
        let named = |number, kind, of: String| Descriptor { number, kind, of };
        let pidfd = |(pid, fd): &(u32, PidFd)| named(fd.as_raw_fd(), Kind::Pidfd, pid.to_string());
        let mut descriptors: Vec<_> = self.children.iter().map(pidfd).collect();
        descriptors.push(named(self.output.as_raw_fd(), Kind::Pipe, "output".into()));
        let kept: Vec<_> = descriptors.iter().map(|descriptor| descriptor.number).collect();
        let node = Carried {
            report: self.report,
            children: self.children.iter().map(|(pid, fd)| (*pid, fd.as_raw_fd())).collect(),
            output: self.output.as_raw_fd(),
            half,
            left: self.left - 1,
        };
        let facts = Facts { version: "1".into(), boot: String::new(), clock: 0, taken: 0, node, core: (), descriptors };
        let snapshot = memory::sealed("snapshot", &draft.finish(facts).unwrap()).unwrap();
        let program = File::open("/proc/self/exe").unwrap();
        let (file, snapshot) = (program.as_fd(), snapshot.as_fd());
        let old = File::open("/proc/self/exe").unwrap();
        let gap = Gap::begin();
        if self.plan.signal {
            nix::sys::signal::kill(nix::unistd::getpid(), Signal::SIGUSR1).unwrap();
        }
        let order = Order { file, old: old.as_fd(), snapshot, kept: &kept, limit: self.plan.limit };
        panic!("{}", gap.execute(&order));
    }

    fn end(mut self) -> Report {
        for (pid, pidfd) in &self.children {
            self.report.children_alive += usize::from(process::is_alive(*pid));
            let _ = pidfd.signal(libc::SIGKILL);
            assert!(pidfd.wait_exit(Span::from_secs(60)));
            let status = pidfd.wait().ok().flatten();
            let killed = status.is_some_and(|status| status.signal == Some(libc::SIGKILL));
            self.report.children_reaped += usize::from(killed);
        }
        self.report
    }
}

/// A socket, with which libzmq's threads begin.
fn socket() -> zmq::Socket {
    zmq::Context::new().socket(zmq::ROUTER).unwrap()
}

/// Does what must not happen.
fn fault(kind: &str) -> Result<(), String> {
    if let Some(kind) = kind.strip_suffix("-beside") {
        let kind = kind.to_owned();
        return std::thread::spawn(move || fault(&kind)).join().unwrap();
    }
    match kind {
        "error" => {
            exec::go_back("descriptor 7 is no pipe");
            return Err("it came back from there".into());
        }
        "panic" => panic!("as planned"),
        "abort" => std::process::abort(),
        // SAFETY: it is what it is not.
        "segv" => unsafe { std::ptr::without_provenance_mut::<u8>(1).write_volatile(0) },
        "stack" => _ = endless(1),
        "ill" => illegal(),
        "loop" => loop {
            std::hint::spin_loop();
        },
        other => panic!("there is no fault {other}"),
    }
    Ok(())
}

#[expect(unconditional_recursion, reason = "the stack is to end")]
fn endless(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 64]);
    endless(depth + 1) + room[7]
}

fn illegal() {
    // SAFETY: an instruction that is none.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("ud2");
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!("udf #0");
    }
}
