//! `treevisor-host fence` in real cgroups: the test is its agent, or has a process stand in for it where that has to
//! end.
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use treevisor::host::fence::handed;
use treevisor::os::cgroup::Group;
use treevisor::os::cgroup::tree::Tree;
use treevisor::os::clock::{self, LeaseTime};
use treevisor::os::page::{AnswerView, Deadline, LeasePage, blank_answer};
use treevisor::os::pidfd::PidFd;
use treevisor::os::spawn::{PlanSpec, prepare};
use treevisor::os::wake::Wake;
use treevisor::os::{fd, random};
use treevisor::time::Span;

/// What has not happened after this long is broken.
const PATIENCE: Span = Span::from_secs(30);

/// An agent's side of a fence, and a cgroup in which something runs by the lease.
struct Trial {
    tree: Option<Tree>,
    group: Group,
    page: LeasePage,
    answer: AnswerView,
    poke: Wake,
    answered: Wake,
    agent: PidFd,
    fence: PidFd,
}

impl Trial {
    fn make() -> Option<Trial> {
        let tree = match Tree::create("fence", &random::mark().unwrap()) {
            Ok(tree) => tree,
            Err(reason) => {
                eprintln!("skipped: no cgroups here: {reason}");
                return None;
            }
        };
        let group = tree.root().child("x").unwrap();
        // It is killed past this object, by the fence.
        let group = Group::open_entered_by_itself(group.path(), true).unwrap();
        let page = LeasePage::new().unwrap();
        let blank = blank_answer().unwrap();
        let answer = AnswerView::of(&blank).unwrap();
        let (poke, answered) = (Wake::new().unwrap(), Wake::new().unwrap());
        let agent = start(PlanSpec::new(vec!["/bin/sleep".into(), "1000".into()]));
        let directory = OwnedFd::from(fs::File::open(group.path()).unwrap());
        let mut spec = PlanSpec::new(vec![env!("CARGO_BIN_EXE_treevisor-host").into(), "fence".into()]);
        spec.extra = vec![
            (page.fd(), handed::LEASE),
            (blank.as_fd(), handed::ANSWER),
            (poke.as_fd(), handed::POKE),
            (answered.as_fd(), handed::ANSWERED),
            (directory.as_fd(), handed::CGROUP),
            (agent.as_fd(), handed::AGENT),
        ];
        let fence = start(spec);
        Some(Trial { tree: Some(tree), group, page, answer, poke, answered, agent, fence })
    }

    /// Starts a script in the cgroup, and gives back its process once it runs, or was killed.
    fn run(&self, script: &str) -> PidFd {
        let (reader, writer) = fd::pipe().unwrap();
        let mut spec = PlanSpec::new(vec!["/bin/sh".into(), "-c".into(), format!("echo; {script}").into()]);
        spec.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        spec.stdout = Some(writer.as_fd());
        spec.cgroup = Some(&self.group);
        let process = start(spec);
        // One that is killed before it has written shows the end of the pipe.
        drop(writer);
        assert!(readable(reader.as_fd(), PATIENCE), "it does not begin");
        process
    }

    /// Sets a deadline from now on.
    fn lease(&self, span: Span) -> LeaseTime {
        let now = clock::both();
        let deadline = LeaseTime { boottime: now.boottime + span, raw: now.raw + span };
        self.page.set(Deadline(deadline));
        deadline
    }

    /// Whether a poke is answered within a time.
    fn answers(&self, number: u64, limit: Span) -> bool {
        self.page.poke(number);
        self.poke.ring();
        let rung = readable(self.answered.as_fd(), limit) && self.answered.take();
        rung && self.answer.answer() == number
    }

    #[track_caller]
    fn until_empty(&self) -> LeaseTime {
        until(|| !self.group.populated());
        clock::both()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let _ = self.fence.signal(libc::SIGKILL);
        let _ = self.agent.signal(libc::SIGKILL);
        let _ = self.group.kill();
        if !std::thread::panicking() {
            self.fence.wait_exit(PATIENCE);
            self.agent.wait_exit(PATIENCE);
            until(|| !self.group.populated());
        }
        self.tree.take().unwrap().remove();
    }
}

fn start(spec: PlanSpec<'_>) -> PidFd {
    let mut started = prepare(spec).unwrap().spawn().unwrap();
    while let Some(late) = &mut started.late {
        match late.outcome() {
            Some(outcome) => {
                outcome.unwrap();
                started.late = None;
            }
            None => late.wait(Span::from_secs(1)),
        }
    }
    started.pidfd
}

fn readable(descriptor: impl AsFd, limit: Span) -> bool {
    fd::wait_readable_any(&[descriptor.as_fd()], Some(limit)).unwrap()
}

#[track_caller]
fn until(what: impl Fn() -> bool) {
    let end = clock::both().boottime + PATIENCE;
    while !what() {
        assert!(clock::both().boottime < end, "it does not come about");
        clock::pause(Span::from_micros(100));
    }
}

#[test]
fn at_the_deadline_all_is_killed_and_later_whatever_appears() {
    let Some(trial) = Trial::make() else { return };
    assert!(trial.answers(1, PATIENCE));
    let deadline = trial.lease(Span::from_millis(300));
    let stopped = trial.run("kill -STOP $$; exec sleep 1000");
    let spinning = trial.run("while :; do :; done");
    let daemon = trial.run("(setsid sleep 1000 &) ; exec sleep 1000");
    let empty = trial.until_empty();
    assert!(empty.boottime >= deadline.boottime, "before the deadline");
    for process in [&stopped, &spinning, &daemon] {
        assert!(process.wait_exit(PATIENCE));
        assert_eq!(process.wait().unwrap().unwrap().signal, Some(libc::SIGKILL));
    }
    until(|| trial.answer.clearings() == 1);
    eprintln!(
        "the kill began {:?} after the deadline, all was gone {:?} after it",
        trial.answer.late().as_duration(),
        empty.boottime.since(deadline.boottime).as_duration()
    );
    // A start that the deadline has overtaken.
    let late = trial.run("exec sleep 1000");
    assert!(late.wait_exit(PATIENCE), "it lives by a lease that has ended");
    assert!(trial.answers(2, PATIENCE), "it still answers");
}

#[test]
fn a_lease_that_is_renewed_goes_on() {
    let Some(trial) = Trial::make() else { return };
    // Long enough for a start and a renewal on a busy machine.
    let first = trial.lease(Span::from_secs(5));
    let process = trial.run("exec sleep 1000");
    assert!(trial.answers(1, PATIENCE));
    // Not even a poke is needed: the page is looked at before anything is killed.
    while !Deadline(first).passed(clock::both()) {
        trial.lease(Span::from_secs(60));
        clock::pause(Span::from_millis(100));
    }
    // A fence that has kept to the first lease kills before it answers.
    for number in 2..7 {
        assert!(trial.answers(number, PATIENCE));
        trial.lease(Span::from_secs(60));
    }
    assert!(!process.has_ended());
    assert_eq!(trial.answer.clearings(), 0);
    // And is withdrawn.
    trial.page.set(Deadline(LeaseTime::default()));
    trial.poke.ring();
    assert!(process.wait_exit(PATIENCE));
}

#[test]
fn frozen_processes_are_killed_at_the_deadline() {
    let Some(trial) = Trial::make() else { return };
    let deadline = trial.lease(Span::from_millis(500));
    let process = trial.run("exec sleep 1000");
    fs::write(trial.group.path().join("cgroup.freeze"), "1").unwrap();
    assert!(process.wait_exit(PATIENCE));
    assert!(clock::both().boottime >= deadline.boottime);
}

#[test]
fn a_stopped_fence_answers_no_poke_and_a_signal_does_not_end_one() {
    let Some(trial) = Trial::make() else { return };
    assert!(trial.answers(1, PATIENCE));
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        trial.fence.signal(signal).unwrap();
    }
    assert!(trial.answers(2, PATIENCE));
    trial.fence.signal(libc::SIGSTOP).unwrap();
    assert!(!trial.answers(3, Span::from_millis(200)));
    trial.fence.signal(libc::SIGCONT).unwrap();
    assert!(readable(trial.answered.as_fd(), PATIENCE));
    assert_eq!(trial.answer.answer(), 3);
}

#[test]
fn without_its_agent_nothing_runs_and_the_fence_ends() {
    let Some(trial) = Trial::make() else { return };
    trial.lease(Span::from_secs(1000));
    let process = trial.run("exec sleep 1000");
    assert!(trial.answers(1, PATIENCE) && !process.has_ended());
    trial.agent.signal(libc::SIGKILL).unwrap();
    assert!(process.wait_exit(PATIENCE));
    assert!(trial.fence.wait_exit(PATIENCE));
    assert_eq!(trial.fence.wait().unwrap().unwrap().code, Some(0));
}

#[test]
fn a_fence_whose_cgroup_is_gone_ends() {
    let Some(trial) = Trial::make() else { return };
    assert!(trial.answers(1, PATIENCE));
    trial.group.remove_all();
    trial.poke.ring();
    assert!(trial.fence.wait_exit(PATIENCE));
    assert_eq!(trial.fence.wait().unwrap().unwrap().code, Some(1));
}

#[test]
fn it_runs_before_others_and_its_memory_is_locked() {
    let Some(trial) = Trial::make() else { return };
    assert!(trial.answers(1, PATIENCE));
    let info = fs::read_to_string(PathBuf::from(format!("/proc/self/fdinfo/{}", trial.fence.as_raw_fd()))).unwrap();
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().to_owned();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |key: &str| status.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    eprintln!("{} {} {}", line("VmLck:"), line("VmRSS:"), line("Threads:"));
    assert_eq!(line("Threads:").split_whitespace().last(), Some("1"));
    let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    eprintln!("oom_score_adj {}", score.trim());
}
