//! `treevisor beat` on behalf of a program that cannot beat: `-- CMD` beats when CMD makes output, `--while-pid` as
//! long as a process is there.

use super::failure::{ExitCode, Failure};
use crate::error::Chain;
use crate::os::epoll::{Interest, PollError, Poller, Tag};
use crate::os::fd;
use crate::os::pidfd::PidFd;
use crate::os::signals::{self, Caught, Signals};
use crate::time::Span;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use treevisor_client::Heart;

/// How often one beats for a process when neither the caller nor the node sets it.
const EVERY: Span = Span::from_secs(1);

/// What is read from a program at a time.
const CHUNK: usize = 64 * 1024;

/// After a program has ended, so many chunks of what it has left in a pipe are passed on: more than a pipe holds.
/// Something that it has started may write there for ever.
const LAST_CHUNKS: usize = 32;

/// The heart of the program that calls this one. It does not count: it may not be the only one.
fn heart(status: Option<&str>) -> Heart {
    let mut heart = Heart::from_env().uncounted();
    if let Some(text) = status {
        heart.status(text);
    }
    heart
}

/// Beats until a process has ended. Without a supervisor it waits all the same, so that a script runs the same.
pub(super) fn process(pid: u32, every: Option<Span>, status: Option<&str>) -> Result<ExitCode, Failure> {
    let process = match PidFd::open(pid) {
        Ok(process) => process,
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(ExitCode::Done),
        Err(error) => {
            let message = format!("cannot beat for process {pid}: {}", Chain(&error));
            return Err(Failure::new(ExitCode::Failed, message));
        }
    };
    let mut heart = heart(status);
    let half = heart.interval().and_then(|interval| u64::try_from(interval.as_nanos() / 2).ok());
    let every = every.or(half.map(Span::from_nanos)).unwrap_or(EVERY);
    loop {
        heart.beat();
        if process.wait_exit(every) {
            return Ok(ExitCode::Done);
        }
    }
}

/// Runs a program, beats when it makes output, and gives its exit status. Without a supervisor it becomes the program.
pub(super) fn command(words: &[OsString], status: Option<&str>) -> Result<i32, Failure> {
    let heart = heart(status);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    let cannot_run = |error: &io::Error| Failure {
        code: if error.kind() == ErrorKind::NotFound { 127 } else { 126 },
        message: format!("cannot run {}: {error}", words[0].display()),
        hint: None,
    };
    if !heart.is_supervised() {
        signals::hand_on();
        return Err(cannot_run(&command.exec()));
    }
    let cannot_watch = |error: &dyn std::error::Error| {
        Failure::new(ExitCode::Failed, format!("cannot beat for {}: {}", words[0].display(), Chain(error)))
    };
    // Before there is a program: a signal that comes now is for it.
    let signals = Signals::install().map_err(|error| cannot_watch(&error))?;
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| cannot_run(&error))?;
    let pipes = [
        child.stdout.take().map(|pipe| (OwnedFd::from(pipe), Target::Stdout)),
        child.stderr.take().map(|pipe| (OwnedFd::from(pipe), Target::Stderr)),
    ];
    let process = PidFd::open(child.id()).map_err(|error| cannot_watch(&error))?;
    let pipes = pipes.into_iter().flatten();
    let watched = Watch::new(process, signals, pipes, heart).and_then(Watch::until_it_ends);
    if let Err(error) = watched {
        // What is not watched must not run on as if it were.
        let _ = child.kill();
        let _ = child.wait();
        return Err(cannot_watch(&error));
    }
    let status = child.wait().map_err(|error| cannot_watch(&error))?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

/// Where output goes on to.
#[derive(Debug, Clone, Copy)]
enum Target {
    Stdout,
    Stderr,
}

impl Target {
    fn write(self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Target::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Target::Stderr => io::stderr().lock().write_all(bytes),
        }
    }
}

/// One of the program's streams; its end has been seen when there is no pipe any more.
struct Stream {
    tag: Tag,
    pipe: Option<File>,
    target: Target,
}

/// What came of a look into a stream.
enum Looked {
    Output,
    Nothing,
    /// It has ended, or its output is no longer read.
    Over,
}

impl Stream {
    fn pass_on(&self) -> Looked {
        let Some(mut pipe) = self.pipe.as_ref() else { return Looked::Over };
        let mut chunk = vec![0; CHUNK];
        match pipe.read(&mut chunk) {
            Ok(0) => Looked::Over,
            Ok(count) => match self.target.write(&chunk[..count]) {
                Ok(()) => Looked::Output,
                // The program is notified of it as it would be without us: there is no reader.
                Err(_) => Looked::Over,
            },
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Looked::Nothing,
            Err(_) => Looked::Over,
        }
    }
}

/// A program at work, and all that is waited for.
struct Watch {
    poller: Poller,
    process: (Tag, PidFd),
    signals: (Tag, Signals),
    streams: Vec<Stream>,
    heart: Heart,
}

impl Watch {
    fn new(
        process: PidFd,
        signals: Signals,
        pipes: impl Iterator<Item = (OwnedFd, Target)>,
        heart: Heart,
    ) -> Result<Watch, PollError> {
        let mut poller = Poller::new()?;
        let mut watch = |fd| {
            let tag = poller.next_tag();
            poller.add(fd, tag, Interest::READ).map(|()| tag)
        };
        let process = (watch(process.as_raw_fd())?, process);
        let signals = (watch(signals.fd())?, signals);
        let mut streams = Vec::new();
        for (pipe, target) in pipes {
            // Where that fails, a read may wait until there is something: late, and right.
            let _ = fd::set_nonblocking(pipe.as_fd(), true);
            streams.push(Stream { tag: watch(pipe.as_raw_fd())?, pipe: Some(pipe.into()), target });
        }
        Ok(Watch { poller, process, signals, streams, heart })
    }

    /// Until the program has ended and all its output is passed on.
    fn until_it_ends(mut self) -> Result<(), PollError> {
        let quarter = self.heart.interval().map_or(EVERY, |interval| Span::from_nanos(interval.as_nanos() as u64 / 4));
        let mut ready = Vec::new();
        // There was output, and maybe the heart has held the beat for it back.
        let mut owed = false;
        loop {
            self.poller.wait(owed.then_some(quarter), &mut ready)?;
            if ready.is_empty() && std::mem::take(&mut owed) {
                self.heart.beat();
            }
            let mut ended = false;
            for at in &ready {
                if at.tag == self.process.0 {
                    ended = true;
                } else if at.tag == self.signals.0 {
                    self.hand_on_signals();
                } else {
                    owed |= self.hand_on_output(at.tag)?;
                }
            }
            if ended {
                for stream in &self.streams {
                    let _all = (0..LAST_CHUNKS).take_while(|_| matches!(stream.pass_on(), Looked::Output)).count();
                }
                return Ok(());
            }
        }
    }

    fn hand_on_output(&mut self, tag: Tag) -> Result<bool, PollError> {
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.tag == tag) else { return Ok(false) };
        match stream.pass_on() {
            Looked::Output => {
                self.heart.beat();
                Ok(true)
            }
            Looked::Nothing => Ok(false),
            Looked::Over => {
                if let Some(pipe) = &stream.pipe {
                    self.poller.remove(pipe.as_raw_fd())?;
                }
                stream.pipe = None;
                Ok(false)
            }
        }
    }

    /// What is sent to us is meant for the program.
    fn hand_on_signals(&mut self) {
        // Those from the keys of a terminal go to both of us already.
        let from_keys = io::stdin().is_terminal();
        for caught in self.signals.1.drain() {
            let number = match caught {
                Caught::Terminate { .. } => libc::SIGTERM,
                Caught::User1 => libc::SIGUSR1,
                Caught::User2 => libc::SIGUSR2,
                Caught::Interrupt if !from_keys => libc::SIGINT,
                Caught::Quit if !from_keys => libc::SIGQUIT,
                Caught::Hangup if !from_keys => libc::SIGHUP,
                Caught::Interrupt | Caught::Quit | Caught::Hangup | Caught::ChildExited => continue,
            };
            // It may have ended meanwhile, which is what a signal is mostly for.
            let _ = self.process.1.signal(number);
        }
    }
}
