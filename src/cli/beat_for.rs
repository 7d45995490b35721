//! Beats on behalf of a program that cannot beat: `-- CMD` beats when CMD makes output, `--while-pid` as
//! long as a process exists.

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

/// The interval of beats for a process if neither the caller nor the node sets one.
const EVERY: Span = Span::from_secs(1);

/// Most bytes that are read from a program at a time.
const CHUNK: usize = 64 * 1024;

/// Most chunks that are passed on from a pipe after the program has ended; more than a pipe holds. A process that it
/// has started may go on writing there for ever.
const LAST_CHUNKS: usize = 32;

/// The heart for the worker, from the environment. It sends no sequence numbers, as other processes may beat for the
/// same worker.
fn heart(status: Option<&str>) -> Heart {
    let mut heart = Heart::from_env().uncounted();
    if let Some(text) = status {
        heart.status(text);
    }
    heart
}

/// Beats until a process has ended. Without a supervisor it waits too, so that a script behaves the same.
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

/// Runs a program, beats when it makes output, and returns its exit status. Without a supervisor this process executes
/// the program in its place.
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
    let [out, errors] = [io::stdout().as_fd(), io::stderr().as_fd()].map(|fd| fd.try_clone_to_owned().map(File::from));
    let (out, errors) = (out.map_err(|error| cannot_watch(&error))?, errors.map_err(|error| cannot_watch(&error))?);
    // Installed before the program is started, so that no signal for it is missed.
    let signals = Signals::install().map_err(|error| cannot_watch(&error))?;
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| cannot_run(&error))?;
    let pipes = [
        child.stdout.take().map(|pipe| (OwnedFd::from(pipe), out)),
        child.stderr.take().map(|pipe| (OwnedFd::from(pipe), errors)),
    ];
    let process = PidFd::open(child.id()).map_err(|error| cannot_watch(&error))?;
    let pipes = pipes.into_iter().flatten();
    let watched = Watch::new(process, signals, pipes, heart).and_then(Watch::until_it_ends);
    if let Err(error) = watched {
        // The program cannot be watched, so it must not go on running.
        let _ = child.kill();
        let _ = child.wait();
        return Err(cannot_watch(&error));
    }
    let status = child.wait().map_err(|error| cannot_watch(&error))?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

/// One of the program's output streams, and where it is passed on to; `pipe` is `None` after its end.
struct Stream {
    tag: Tag,
    pipe: Option<File>,
    target: File,
}

/// Writes all of it, also where another process has made our output non-blocking.
fn write_all(mut target: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match target.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => fd::wait_writable(target.as_fd(), EVERY)?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The result of reading a stream.
enum Looked {
    Output,
    Nothing,
    /// The stream has ended, or our own output has no reader any more.
    Over,
}

impl Stream {
    fn pass_on(&self) -> Looked {
        let Some(mut pipe) = self.pipe.as_ref() else { return Looked::Over };
        let mut chunk = vec![0; CHUNK];
        match pipe.read(&mut chunk) {
            Ok(0) => Looked::Over,
            Ok(count) => match write_all(&self.target, &chunk[..count]) {
                // The pipe is closed, so the program gets SIGPIPE as it would without this process in between.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Looked::Over,
                // What cannot be written, to a full disk for instance, is lost. That must not kill the program.
                Ok(()) | Err(_) => Looked::Output,
            },
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Looked::Nothing,
            Err(_) => Looked::Over,
        }
    }
}

/// A running program, and everything that is waited for.
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
        pipes: impl Iterator<Item = (OwnedFd, File)>,
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
            // If this fails, a read may block until there is output; beats are late then, but nothing is lost.
            let _ = fd::set_nonblocking(pipe.as_fd(), true);
            streams.push(Stream { tag: watch(pipe.as_raw_fd())?, pipe: Some(pipe.into()), target });
        }
        Ok(Watch { poller, process, signals, streams, heart })
    }

    /// Runs until the program has ended and all its output is passed on.
    fn until_it_ends(mut self) -> Result<(), PollError> {
        let quarter = self.heart.interval().map_or(EVERY, |interval| Span::from_nanos(interval.as_nanos() as u64 / 4));
        let mut ready = Vec::new();
        // There was output for which the heart may have held back the beat.
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

    /// Forwards signals that this process gets to the program.
    fn hand_on_signals(&mut self) {
        // The terminal sends signals of keys, such as Ctrl-C, to both processes already.
        let from_keys = io::stdin().is_terminal();
        for caught in self.signals.1.drain() {
            let number = match caught {
                Caught::Terminate { .. } => libc::SIGTERM,
                Caught::User1 => libc::SIGUSR1,
                Caught::User2 => libc::SIGUSR2,
                Caught::Interrupt if !from_keys => libc::SIGINT,
                Caught::Quit if !from_keys => libc::SIGQUIT,
                Caught::Hangup { .. } if !from_keys => libc::SIGHUP,
                Caught::Interrupt | Caught::Quit | Caught::Hangup { .. } | Caught::ChildExited => continue,
            };
            // The error is ignored: the program may have ended already.
            let _ = self.process.1.signal(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// A stream to `target`, and the program's end of it.
    fn stream(target: File) -> (Stream, File) {
        let (pipe, program) = fd::output_pipe().unwrap();
        let tag = Poller::new().unwrap().next_tag();
        (Stream { tag, pipe: Some(pipe.into()), target }, program.into())
    }

    #[test]
    fn an_output_without_room_is_waited_for() {
        let (reader, target) = fd::wide_pipe(4096).unwrap();
        let mut target = File::from(target);
        let mut full = 0;
        while let Ok(count) = target.write(&[b'.'; 1000]) {
            full += count;
        }
        let (stream, mut program) = stream(target);
        program.write_all(&[b'x'; 10_000]).unwrap();
        let reading = thread::spawn(move || {
            let mut text = String::new();
            File::from(reader).read_to_string(&mut text).map(|_| text)
        });
        assert!(matches!(stream.pass_on(), Looked::Output));
        drop(stream);
        assert_eq!(reading.join().unwrap().unwrap(), ".".repeat(full) + &"x".repeat(10_000));
    }

    #[test]
    fn output_is_over_when_its_reader_is_gone_and_not_when_the_disk_is_full() {
        let (full, mut program) = stream(File::options().write(true).open("/dev/full").unwrap());
        program.write_all(b"lost").unwrap();
        assert!(matches!(full.pass_on(), Looked::Output));
        let (reader, target) = fd::pipe().unwrap();
        drop(reader);
        let (unread, mut program) = stream(target.into());
        program.write_all(b"unread").unwrap();
        assert!(matches!(unread.pass_on(), Looked::Over));
    }
}
