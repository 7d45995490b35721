//! Connections: which are let in, for how long, and what stands between them and the routes.

use super::answers::Refused;
use super::app::App;
use super::guard::{IN_EACH, Peer, admit, with_headers};
use super::host::Door;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io;
use std::net;
use std::os::unix::net as unix;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

/// Connections at a time over TCP, and as many over a UNIX socket: those that are full of strangers must not keep out the
/// user of the tree.
const CONNECTIONS: usize = 256;

/// The most bytes of a request's head.
const HEAD_MAX: usize = 16 << 10;

/// How long the head of a request may take.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// How long a client may leave its answer unread, where no more of it fits into its connection: as long as a page its stream.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// How long a request may take, its body included; a stream counts only until it begins.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// How long it is waited before the next connection is taken where descriptors have run out.
const WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(100);

/// What is sent to a connection too many.
static TOO_MANY: LazyLock<String> = LazyLock::new(|| {
    let body = r#"{"error":"too many connections are open; try again in some seconds"}"#;
    let mut text = format!(
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nCache-Control: no-store\r\n",
        body.len()
    );
    IN_EACH.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    text + "\r\n" + body
});

/// What a connection needs.
#[derive(Clone)]
pub(super) struct Server {
    app: Arc<App>,
    routes: Router,
}

/// For how many connections there is room.
type Room = Arc<Semaphore>;

impl Server {
    pub(super) fn new(app: Arc<App>, routes: Router) -> Server {
        Server { app, routes }
    }

    /// Takes connections from a TCP socket that listens.
    ///
    /// # Errors
    /// The system's, where the socket cannot be used.
    pub(super) fn tcp(&self, socket: net::TcpListener) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let (socket, server) = (TcpListener::from_std(socket)?, self.clone());
        let room = Room::new(Semaphore::new(CONNECTIONS));
        tokio::spawn(async move {
            loop {
                match socket.accept().await {
                    Ok((stream, from)) => {
                        let Ok(here) = stream.local_addr() else { continue };
                        // Small events are to arrive at once.
                        let _ = stream.set_nodelay(true);
                        server.connection(&room, stream, Door::Tcp(here), from.ip().to_canonical().to_string(), None);
                    }
                    Err(error) => refused(&error).await,
                }
            }
        });
        Ok(())
    }

    /// Takes connections from a UNIX socket that listens.
    ///
    /// # Errors
    /// As [`Server::tcp`].
    pub(super) fn unix(&self, socket: unix::UnixListener) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let (socket, server) = (UnixListener::from_std(socket)?, self.clone());
        let room = Room::new(Semaphore::new(CONNECTIONS));
        tokio::spawn(async move {
            loop {
                match socket.accept().await {
                    Ok((stream, _)) => {
                        let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                        let address = uid.map_or_else(|| "unix".into(), |uid| format!("uid {uid}"));
                        server.connection(&room, stream, Door::Unix, address, uid);
                    }
                    Err(error) => refused(&error).await,
                }
            }
        });
        Ok(())
    }

    fn connection(
        &self,
        room: &Room,
        mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        door: Door,
        address: String,
        uid: Option<u32>,
    ) {
        let peer = Peer { door, address, uid, close: Arc::new(Notify::new()) };
        match Arc::clone(room).try_acquire_owned() {
            Ok(permit) => drop(tokio::spawn(self.clone().serve(stream, peer, permit))),
            Err(_) => drop(tokio::spawn(async move {
                // It is told why, if it can be told at once.
                let _ = timeout(Duration::from_millis(100), stream.write_all(TOO_MANY.as_bytes())).await;
            })),
        }
    }

    async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: Peer,
        _permit: OwnedSemaphorePermit,
    ) {
        let close = Arc::clone(&peer.close);
        let (app, routes) = (self.app, TowerToHyperService::new(self.routes));
        let service = service_fn(move |request: Request<Incoming>| {
            let (app, routes, peer) = (Arc::clone(&app), routes.clone(), peer.clone());
            async move {
                let answered = timeout(ANSWER_WITHIN, answer(&app, routes, peer, request)).await;
                let late = || Refused::new(StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response();
                let response = answered.unwrap_or_else(|_| late());
                app.count(response.status().as_u16());
                Ok::<_, Infallible>(with_headers(response))
            }
        });
        // What the parser refuses itself (400, 414, 431) has no body and closes the connection; nothing can be added to it.
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD_MAX);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(READ_WITHIN));
        let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service);
        // A client that breaks off, or sends what is no HTTP, harms itself alone.
        let (mut connection, mut closed) = (std::pin::pin!(connection), std::pin::pin!(close.notified()));
        std::future::poll_fn(|context| {
            let ended = closed.as_mut().poll(context).is_ready() || connection.as_mut().poll(context).is_ready();
            if ended { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

async fn answer(app: &App, routes: TowerToHyperService<Router>, peer: Peer, request: Request<Incoming>) -> Response {
    let (mut parts, body) = request.into_parts();
    if let Err(refused) = admit(app, &peer, &mut parts) {
        return refused.into_response();
    }
    parts.extensions.insert(peer);
    match routes.call(Request::from_parts(parts, Body::new(body))).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// A connection that is gone before it was taken is no reason to wait.
async fn refused(error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
        sleep(WITHOUT_DESCRIPTORS).await;
    }
}
