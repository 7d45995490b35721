//! A client's conformance program at work, and the one of the Rust client.

use crate::languages::Words;
use crate::peer::LIMIT;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use treevisor::client::Heart;

/// Set where this binary is to be the Rust client's program.
pub(crate) const IS_PROGRAM: &str = "CONFORMANCE_PROGRAM";

/// The token that the clients are given.
pub(crate) const TOKEN: &str = "00112233445566778899aabbccddeeff";

/// This binary as the Rust client's program.
pub(crate) fn own() -> Result<Words, String> {
    let exe = std::env::current_exe().unwrap();
    Ok(vec![
        "env".into(),
        format!("{IS_PROGRAM}=1").into(),
        exe.into(),
        "--exact".into(),
        "rust_conformance_program".into(),
        "--nocapture".into(),
    ])
}

/// The program of a client that is not ours.
pub(crate) fn foreign() -> Result<Words, String> {
    match std::env::var("TREEVISOR_CLIENT") {
        Ok(words) => Ok(words.split_whitespace().map(Into::into).collect()),
        Err(_) => Err("TREEVISOR_CLIENT names no program".into()),
    }
}

/// A program that runs. Killed when it is dropped.
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    complaints: Option<JoinHandle<String>>,
}

impl Program {
    /// As a worker of the node at `socket`, with an interval of 40 ms: beats may then be 10 ms apart.
    pub(crate) fn supervised(words: &Words, socket: &Path) -> Program {
        Program::start(
            words,
            &[
                ("TREEVISOR_ENDPOINT", &format!("ipc://{}", socket.display())),
                ("TREEVISOR_TOKEN", TOKEN),
                ("TREEVISOR_PATH", "/web/api"),
                ("TREEVISOR_INCARNATION", "3"),
                ("TREEVISOR_HEARTBEAT_MS", "40"),
            ],
        )
    }

    pub(crate) fn start(words: &Words, environment: &[(&str, &str)]) -> Program {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TREEVISOR_") {
                command.env_remove(name);
            }
        }
        command.env("PYTHONDONTWRITEBYTECODE", "1").envs(environment.iter().copied());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("starting {words:?}: {error}"));
        let (send, answers) = mpsc::channel();
        let output = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            // Other lines are none of ours: a test harness, an interpreter may print something.
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            let answers = |line: &String| line == "ok" || line == "not delivered" || line.starts_with("unsupported");
            for line in lines.filter(answers) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let mut errors = child.stderr.take().unwrap();
        let complaints = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = errors.read_to_string(&mut text);
            text
        });
        let input = child.stdin.take();
        Program { child, input, answers, complaints: Some(complaints) }
    }

    /// Gives a command and waits for its answer; false if the client has nothing of that kind.
    #[track_caller]
    pub(crate) fn tell(&mut self, command: impl AsRef<[u8]>) -> bool {
        self.ask(command) == "ok"
    }

    /// Gives a command and waits for its answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: impl AsRef<[u8]>) -> String {
        let command = command.as_ref();
        let shown = String::from_utf8_lossy(command).into_owned();
        let input = self.input.as_mut().unwrap();
        let written = input.write_all(&[command, b"\n"].concat()).and_then(|()| input.flush());
        if written.is_err() {
            panic!("the client ended before \"{shown}\": {}", self.complaints());
        }
        match self.answers.recv_timeout(LIMIT) {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the client does not come back from \"{shown}\""),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                panic!("the client ended in \"{shown}\": {}", self.complaints())
            }
        }
    }

    /// Lets some time go by between two beats, more than the least distance between them. Waiting is harmless here: a
    /// pause that is too short makes the client hold a beat back, and the caller repeats it.
    pub(crate) fn pause(&self) {
        std::thread::park_timeout(Duration::from_millis(12));
    }

    /// Ends the client and checks that it ends well: with 0, and without a complaint.
    #[track_caller]
    pub(crate) fn end(mut self) {
        let mut input = self.input.take().unwrap();
        let _ = input.write_all(b"end\n");
        drop(input);
        let end = Instant::now() + LIMIT;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() >= end => panic!("the client does not end when it is asked to"),
                None => std::thread::park_timeout(Duration::from_millis(1)),
            }
        };
        let complaints = self.complaints();
        assert!(status.success(), "the client ended with {status}: {complaints}");
        assert_eq!(complaints, "", "the client complains");
    }

    fn complaints(&mut self) -> String {
        let _ = self.child.kill();
        self.complaints.take().map(|thread| thread.join().unwrap()).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the Rust client's program does.
pub(crate) fn speak_for_rust() {
    let mut heart = Heart::from_env();
    let mut stdin = std::io::stdin().lock();
    let mut line = Vec::new();
    while stdin.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
        line.clear();
        let (verb, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let mut answer = "ok";
        match verb {
            "end" => break,
            "beat" => beat(&mut heart, rest),
            "flood" => {
                for at in 1..=rest.parse().unwrap() {
                    heart.busy_for(Duration::from_secs(at)).beat();
                }
            }
            "ready" => heart.ready(),
            "stopping" => heart.stopping(),
            "deliver" if heart.deliver(Duration::from_secs(10)).is_err() => answer = "not delivered",
            "deliver" => {}
            _ => answer = "unsupported",
        }
        // Past the test harness, which begins its line without ending it.
        println!("\n{answer}");
    }
}

fn beat(heart: &mut Heart, fields: &str) {
    let (fields, status) = match fields.split_once("status=") {
        Some((fields, status)) => (fields, Some(status)),
        None => (fields, None),
    };
    if let Some(status) = status {
        heart.status(status);
    }
    for field in fields.split_whitespace() {
        let (name, value) = field.split_once('=').unwrap();
        let value = value.parse().unwrap();
        match name {
            "progress" => heart.progress(value),
            "pending" => heart.pending(value),
            _ => heart.busy_for(Duration::from_millis(value)),
        };
    }
    heart.beat();
}
