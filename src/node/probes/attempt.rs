//! One attempt to probe a worker: a command that runs, or a connection that is opened and used. It never blocks; its
//! outcome is judged in `super`.

use crate::error::plain;
use crate::node::command::HelperProcess;
use crate::node::launch_context::{self, LaunchContext, NotStarted};
use crate::node::reactor::{Reactor, Source};
use crate::os::epoll::{Interest, PollError, Tag};
use crate::os::net::{self, Connection};
use crate::spec::exec::ExecSpec;
use crate::spec::probe::{Ask, Server};
use crate::supervision::Run;
use crate::wire::http::{self, Answer};
use slog::warn;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// A running probe.
pub(super) enum Attempt {
    Command(HelperProcess),
    Connection(Box<ProbeConnection>),
}

/// A connection that is being opened or used.
pub(super) struct ProbeConnection {
    connection: Connection,
    tag: Tag,
    waits_to_write: bool,
    /// The addresses that are still to be tried, the next one last.
    further: Vec<SocketAddr>,
    /// The outcome at the addresses before.
    before: Option<Outcome>,
    /// The HTTP request and its answer; `None` for a TCP probe.
    exchange: Option<Exchange>,
}

struct Exchange {
    request: Vec<u8>,
    sent: usize,
    answer: Answer,
}

/// The outcome of a probe.
pub(super) enum Outcome {
    Answered,
    Failed(String),
    /// The probe could not be made: this node or machine lacks descriptors, processes, memory or ports.
    Unable(String),
}

/// The state of an attempt after a step.
pub(super) enum Step {
    Waiting(Attempt),
    Over(Outcome),
}

impl Attempt {
    pub(super) fn begin(run: Run, exec: &ExecSpec, ask: &Ask, launch: &mut LaunchContext<'_>) -> Step {
        match ask {
            Ask::Exec(command) => start_command(run, exec, command, launch),
            Ask::Tcp(server) => start_connection(run, server, None, launch.reactor),
            Ask::Http(server, path) => start_connection(run, server, Some(path), launch.reactor),
        }
    }

    /// Continues the attempt, since its process or connection is ready.
    pub(super) fn go_on(self, run: Run, launch: &mut LaunchContext<'_>) -> Step {
        match self {
            Attempt::Command(mut command) => match command.look(launch.context, launch.reactor) {
                Some(verdict) => Step::Over(Outcome::of(verdict.map_err(|failure| failure.why))),
                None => Step::Waiting(Attempt::Command(command)),
            },
            Attempt::Connection(connection) => connection.go_on(run, launch.reactor),
        }
    }

    /// Ends the attempt. Returns it if its process has still to exit.
    pub(super) fn end(self, why: String, launch: &mut LaunchContext<'_>) -> Option<Attempt> {
        match self {
            Attempt::Command(mut command) => {
                if let Some(why) = command.kill(why) {
                    warn!(launch.context.logger, "probe command cannot be killed";
                        "pid" => command.pid(), "why" => why);
                }
                Some(Attempt::Command(command))
            }
            Attempt::Connection(connection) => {
                launch.reactor.unwatch(connection.connection.as_raw_fd(), connection.tag);
                None
            }
        }
    }

    /// Whether it is a process that was killed.
    pub(super) fn is_killed(&self) -> bool {
        matches!(self, Attempt::Command(command) if command.is_killed())
    }

    /// The outcome that the part of the answer read so far shows, if any.
    pub(super) fn answer(&self) -> Option<Outcome> {
        match self {
            Attempt::Connection(connection) => connection.exchange.as_ref()?.answer.verdict().map(Outcome::of),
            Attempt::Command(_) => None,
        }
    }
}

impl Outcome {
    fn of(verdict: Result<(), String>) -> Outcome {
        match verdict {
            Ok(()) => Outcome::Answered,
            Err(why) => Outcome::Failed(why),
        }
    }

    fn unwatched(error: &PollError) -> Step {
        Step::Over(Outcome::Unable(format!("watching the connection: {error}")))
    }
}

fn start_command(run: Run, exec: &ExecSpec, command: &[String], launch: &mut LaunchContext<'_>) -> Step {
    match launch_context::start(run, exec, command, Source::Probe(run), launch) {
        Ok(command) => Step::Waiting(Attempt::Command(command)),
        Err(NotStarted { is_ours: true, why }) => Step::Over(Outcome::Unable(why)),
        Err(NotStarted { is_ours: false, why }) => Step::Over(Outcome::Failed(why)),
    }
}

/// Begins to probe a server: by a GET of `path`, or only by a connection.
fn start_connection(run: Run, server: &Server, path: Option<&str>, reactor: &mut Reactor) -> Step {
    let exchange =
        path.map(|path| Exchange { request: http::get(&server.to_string(), path), sent: 0, answer: Answer::default() });
    let mut further = server.addresses();
    further.reverse();
    connect(run, further, None, exchange, reactor)
}

/// Tries the addresses one after the other, the last in the list first. `before`: the outcome at those before.
fn connect(
    run: Run,
    mut further: Vec<SocketAddr>,
    mut before: Option<Outcome>,
    exchange: Option<Exchange>,
    reactor: &mut Reactor,
) -> Step {
    while let Some(address) = further.pop() {
        let connection = match Connection::open(address) {
            Ok(connection) => connection,
            Err(error) => {
                before = Some(not_connected(before, &error));
                continue;
            }
        };
        let tag = match reactor.watch_for(connection.as_raw_fd(), Source::Probe(run), Interest::WRITE) {
            Ok(tag) => tag,
            Err(error) => return Outcome::unwatched(&error),
        };
        // A connection on this machine is usually open at once.
        return Box::new(ProbeConnection { connection, tag, waits_to_write: true, further, before, exchange })
            .go_on(run, reactor);
    }
    Step::Over(before.unwrap_or_else(|| Outcome::Failed("there is no address to connect to".into())))
}

/// The connection could not be opened.
struct NotOpen(io::Error);

impl ProbeConnection {
    /// Continues, and watches the connection for what has to happen next.
    fn go_on(mut self: Box<Self>, run: Run, reactor: &mut Reactor) -> Step {
        let advanced = self.advance();
        let fd = self.connection.as_raw_fd();
        match advanced {
            Ok(None) => {
                let wants_write = self.wants_to_write();
                if wants_write != self.waits_to_write {
                    self.waits_to_write = wants_write;
                    reactor.unwatch(fd, self.tag);
                    let interest = if wants_write { Interest::WRITE } else { Interest::READ };
                    match reactor.watch_for(fd, Source::Probe(run), interest) {
                        Ok(tag) => self.tag = tag,
                        Err(error) => return Outcome::unwatched(&error),
                    }
                }
                Step::Waiting(Attempt::Connection(self))
            }
            Ok(Some(outcome)) => {
                reactor.unwatch(fd, self.tag);
                Step::Over(outcome)
            }
            Err(NotOpen(error)) => {
                reactor.unwatch(fd, self.tag);
                let ProbeConnection { connection, further, before, exchange, .. } = *self;
                drop(connection);
                connect(run, further, Some(not_connected(before, &error)), exchange, reactor)
            }
        }
    }

    fn wants_to_write(&self) -> bool {
        !self.connection.is_open()
            || self.exchange.as_ref().is_some_and(|exchange| exchange.sent < exchange.request.len())
    }

    /// Continues as far as possible without blocking. Returns `None` if the connection is not ready for more.
    fn advance(&mut self) -> Result<Option<Outcome>, NotOpen> {
        if !self.connection.is_open() && !self.connection.check().map_err(NotOpen)? {
            return Ok(None);
        }
        let Some(exchange) = &mut self.exchange else { return Ok(Some(Outcome::Answered)) };
        Ok(match exchange.go_on(&mut self.connection) {
            Ok(false) => None,
            Ok(true) => Some(match exchange.answer.verdict() {
                Some(verdict) => Outcome::of(verdict),
                None => Outcome::Failed("connection closed without a complete answer".into()),
            }),
            Err(why) => Some(match exchange.answer.verdict() {
                // A server that has answered may close the connection in any way.
                Some(verdict) => Outcome::of(verdict),
                None => Outcome::Failed(why),
            }),
        })
    }
}

impl Exchange {
    /// Sends the request and reads the answer, as far as possible. Returns true when the exchange is over.
    fn go_on(&mut self, connection: &mut Connection) -> Result<bool, String> {
        while self.sent < self.request.len() {
            match connection.write(&self.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(format!("cannot send the request: {}", plain(&error))),
            }
        }
        let mut buffer = [0; 4096];
        // The size of an answer is bounded, and so is this loop.
        loop {
            match connection.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(count) => match self.answer.feed(&buffer[..count]) {
                    Ok(true) => return Ok(true),
                    Ok(false) => {}
                    Err(error) => return Err(error.to_string()),
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(format!("cannot read its answer: {}", plain(&error))),
            }
        }
    }
}

/// The outcome at an address that cannot be connected to, after that at the addresses before. The first one is
/// reported, as it is usually the one that is meant; but nothing is known of a server while this node lacks something.
fn not_connected(before: Option<Outcome>, error: &io::Error) -> Outcome {
    let is_ours = error.raw_os_error().is_some_and(net::is_our_own);
    // A machine without IPv6 has no address `::1`, which is the second one of localhost. That is no lack of ports.
    let has_no_such_address = error.kind() == io::ErrorKind::AddrNotAvailable;
    match before {
        Some(before) if has_no_such_address || !is_ours => before,
        _ => {
            let why = format!("cannot connect: {}", plain(error));
            if is_ours { Outcome::Unable(why) } else { Outcome::Failed(why) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome after these errors at one address after the other.
    fn after(errors: &[i32]) -> Outcome {
        let errors = errors.iter().map(|errno| io::Error::from_raw_os_error(*errno));
        errors.fold(None, |before, error| Some(not_connected(before, &error))).unwrap()
    }

    #[test]
    fn a_server_is_dead_that_refuses_where_the_machine_has_no_further_address() {
        let refused = |outcome| matches!(outcome, Outcome::Failed(why) if why.contains("refused"));
        assert!(refused(after(&[libc::ECONNREFUSED])));
        assert!(refused(after(&[libc::ECONNREFUSED, libc::EADDRNOTAVAIL])));
        assert!(refused(after(&[libc::ECONNREFUSED, libc::EAFNOSUPPORT])));
        assert!(refused(after(&[libc::ECONNREFUSED, libc::ETIMEDOUT])));
    }

    #[test]
    fn a_lack_of_this_node_at_any_address_is_no_failure_of_the_server() {
        let unable = |outcome| matches!(outcome, Outcome::Unable(_));
        assert!(unable(after(&[libc::EADDRNOTAVAIL])));
        assert!(unable(after(&[libc::EADDRNOTAVAIL, libc::ECONNREFUSED])));
        assert!(unable(after(&[libc::EMFILE, libc::EMFILE])));
        assert!(unable(after(&[libc::ECONNREFUSED, libc::EMFILE])));
    }
}
