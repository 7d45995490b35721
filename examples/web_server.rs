//! A web server that knows nothing of treevisor, in Rust: it is asked whether it is well.
//!
//! ```sh
//! cargo build --example web_server
//! treevisor run --probe-http http://127.0.0.1:8083/health --misses 3 -- target/debug/examples/web_server 8083
//! curl http://127.0.0.1:8083/hang         # its loop stands still, and no request is served any more: it is started
//! again
//! ```

use std::io::{BufRead, BufReader, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

fn main() -> Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8083);
    // One request after the other: what /health says is true of the loop that serves.
    for stream in TcpListener::bind(("127.0.0.1", port))?.incoming() {
        // A client that hangs up is no reason to end.
        let _ = stream.and_then(serve);
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> Result<()> {
    // Nor may a client that connects and sends nothing hold up the others.
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut request = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    reader.read_line(&mut request)?;
    // The rest of its head is read, or closing would reset the connection with the answer still on its way.
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let (status, page) = match request.split(' ').nth(1) {
        Some("/") => ("200 OK", "hello\n"),
        Some("/health") => ("200 OK", "well\n"),
        Some("/hang") => loop {
            std::thread::park();
        },
        _ => ("404 Not Found", "no such page\n"),
    };
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{page}", page.len())
}
