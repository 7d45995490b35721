//! The first member of a store, which `host init` starts while it writes the cluster's record. Only this member starts
//! without others.

use super::command::{Begin, Files};
use super::{command, lay_out, no_earlier_data};
use crate::error::Chain;
use crate::host::identity::Signers;
use crate::host::store_opener::etcd_at;
use crate::os::clock::{self, Clock};
use crate::os::pidfd::PidFd;
use crate::spec::host::HostFile;
use crate::time::{Span, Time};
use std::fs;
use std::process::{Child, Stdio};

/// Limit for its first answer.
const UP: Span = Span::from_secs(30);

/// Limit for its exit after SIGTERM.
const DOWN: Span = Span::from_secs(10);

/// The running first member. When dropped it is stopped, and its data are removed unless [`First::keep`] was called.
pub(in crate::host) struct First {
    child: Child,
    files: Files,
    kept: bool,
}

impl First {
    /// Starts the member, and waits until it answers.
    ///
    /// # Errors
    /// Why it cannot start: etcd is not installed, a port is in use, there are data of an earlier member.
    pub(in crate::host) fn start(host: &HostFile, signers: &Signers) -> Result<First, String> {
        let at = host.member().ok_or("its file has no `run = true` below [store]")?;
        no_earlier_data()?;
        let files = lay_out(&at, signers).map_err(|error| Chain(&*error).to_string())?;
        let output = log(&files)?;
        let mut command = command(host, &at, signers, &files, &Begin::New)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn();
        let child = child.map_err(|error| format!("cannot start etcd: {error}"))?;
        let mut first = First { child, files, kept: false };
        let mut etcd = etcd_at(&[at.client()], host, Some(signers)).map_err(|error| error.to_string())?;
        let (clock, end) = (Clock::start(), Time::ZERO + UP);
        loop {
            let Err(why) = etcd.members(Span::from_secs(1)) else { return Ok(first) };
            if let Ok(Some(status)) = first.child.try_wait() {
                return Err(format!("etcd has ended ({status}): {}", first.last_line()));
            }
            if clock.now() >= end {
                return Err(format!("etcd does not answer within {UP}: {why}"));
            }
            clock::pause(Span::from_millis(50));
        }
    }

    /// Stops the member, and keeps its data for the member that the host will run.
    pub(in crate::host) fn keep(mut self) {
        self.kept = true;
    }

    fn last_line(&self) -> String {
        let text = fs::read_to_string(log_file(&self.files)).unwrap_or_default();
        text.lines().last().unwrap_or("it has written nothing").chars().take(1000).collect()
    }
}

fn log_file(files: &Files) -> std::path::PathBuf {
    files.data.with_file_name("first.log")
}

fn log(files: &Files) -> Result<fs::File, String> {
    let path = log_file(files);
    fs::File::create(&path).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

impl Drop for First {
    fn drop(&mut self) {
        let pid = self.child.id();
        let asked =
            PidFd::open(pid).and_then(|process| process.signal(libc::SIGTERM).map(|()| process.wait_exit(DOWN)));
        if !asked.unwrap_or(false) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        let _ = fs::remove_file(log_file(&self.files));
        if !self.kept {
            let _ = fs::remove_dir_all(&self.files.data);
        }
    }
}
