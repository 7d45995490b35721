//! A web server on a socket that its supervisor holds, in Rust: descriptor 3, by the protocol of sd_listen_fds(3).
//!
//! ```sh
//! cargo build --example held_server
//! sed s,examples/held_server.py,target/debug/examples/held_server, examples/held-sockets.toml > rust.toml
//! treevisor start rust.toml
//! ```
//!
//! It opens no socket of its own, so nothing is refused while it crashes or is replaced. The crate `listenfd` takes
//! descriptor 3 without `unsafe`.

#![allow(unsafe_code, reason = "the number of a descriptor is turned into one that is owned")]

use std::io::{BufRead, BufReader, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::FromRawFd;

fn main() -> Result<()> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    if variable("LISTEN_PID") != std::process::id().to_string() {
        return Err(std::io::Error::other("no socket is held for this process: run it with `listen = ...`"));
    }
    println!("{} held: {}", variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"));
    // SAFETY: LISTEN_PID has named this process, so that 3 is a listening socket; nothing else here has taken it.
    let held = unsafe { TcpListener::from_raw_fd(3) };
    for stream in held.incoming() {
        // A client that hangs up is no reason to end.
        let _ = stream.and_then(serve);
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> Result<()> {
    let lines = BufReader::new(stream.try_clone()?).lines();
    // The end of the headers.
    lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
    let path = std::env::var("TREEVISOR_PATH").unwrap_or_default();
    let body = format!("served by {path}, process {}\n", std::process::id());
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
