//! HTTP connections: which are accepted, their time limits, and the checks before the routes.

use super::answers::Refused;
use super::app::App;
use super::connection_limiter::{ConnectionLimiter, ConnectionOrigin, ConnectionSlot, EACH, EACH_OF_PROXY};
use super::guard::{IN_EACH, Peer, admit, with_headers};
use super::host::Door;
use super::shared::now_ms;
use super::stream::EVENT_STREAM;
use super::write_backlog::{Accounted, WriteBacklog};
use crate::os::peer::user_of;
use crate::os::process::own_uid;
use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
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
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

/// Most bytes of a request's head.
const HEAD_MAX: usize = 16 << 10;

/// How long the head of a request may take.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// How long a write to a client may make no progress; the same limit as for a page's stream.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// How long a client may take to read a whole answer that is not a stream; enough for the tree of 10,000 workers over a
/// slow mobile connection.
const READ_ALL_WITHIN: Duration = Duration::from_secs(120);

/// How long a request may take, its body included; a stream counts only until it begins.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// The pause before the next accept when file descriptors have run out.
const WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(100);

/// The answer to a connection beyond the limit.
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

/// The state that each connection needs.
#[derive(Clone)]
pub(super) struct Server {
    app: Arc<App>,
    routes: Router,
}

impl Server {
    pub(super) fn new(app: Arc<App>, routes: Router) -> Server {
        Server { app, routes }
    }

    fn limiter(&self) -> Arc<ConnectionLimiter> {
        ConnectionLimiter::new(if self.app.config.public_url.is_some() { EACH_OF_PROXY } else { EACH })
    }

    /// Accepts connections of a listening TCP socket.
    ///
    /// # Errors
    /// The system's, if the socket cannot be used.
    pub(super) fn tcp(&self, socket: net::TcpListener) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let (socket, server) = (TcpListener::from_std(socket)?, self.clone());
        let limiter = self.limiter();
        tokio::spawn(async move {
            loop {
                match socket.accept().await {
                    Ok((stream, from)) => {
                        let Ok(here) = stream.local_addr() else { continue };
                        // Small events must not be delayed by Nagle's algorithm.
                        let _ = stream.set_nodelay(true);
                        let address = from.ip().to_canonical().to_string();
                        server.connection(limiter.take(origin(from, here)), stream, Door::Tcp(here), address, None);
                    }
                    Err(error) => refused(&error).await,
                }
            }
        });
        Ok(())
    }

    /// Accepts connections of a listening UNIX socket.
    ///
    /// # Errors
    /// As [`Server::tcp`].
    pub(super) fn unix(&self, socket: unix::UnixListener) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let (socket, server) = (UnixListener::from_std(socket)?, self.clone());
        let limiter = self.limiter();
        tokio::spawn(async move {
            loop {
                match socket.accept().await {
                    Ok((stream, _)) => {
                        let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                        let address = uid.map_or_else(|| "unix".into(), |uid| format!("uid {uid}"));
                        // The kernel reports the user id, except for a process that has ended already.
                        let origin = ConnectionOrigin::user(uid.unwrap_or(u32::MAX), own_uid());
                        server.connection(limiter.take(origin), stream, Door::Unix, address, uid);
                    }
                    Err(error) => refused(&error).await,
                }
            }
        });
        Ok(())
    }

    fn connection(
        &self,
        slot: Option<ConnectionSlot>,
        mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        door: Door,
        address: String,
        uid: Option<u32>,
    ) {
        let peer = Peer { door, address, uid, close: Arc::new(Notify::new()) };
        match slot {
            Some(slot) => drop(tokio::spawn(self.clone().serve(stream, peer, slot))),
            None => drop(tokio::spawn(async move {
                // The client is sent the reason, if that is possible at once.
                let _ = timeout(Duration::from_millis(100), stream.write_all(TOO_MANY.as_bytes())).await;
            })),
        }
    }

    async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: Peer,
        _slot: ConnectionSlot,
    ) {
        let (close, backlog) = (Arc::clone(&peer.close), Arc::new(WriteBacklog::new(now_ms)));
        let account = Arc::clone(&backlog);
        let (app, routes) = (self.app, TowerToHyperService::new(self.routes));
        let service = service_fn(move |request: Request<Incoming>| {
            let (app, routes, peer, account) = (Arc::clone(&app), routes.clone(), peer.clone(), Arc::clone(&account));
            async move {
                let answered = timeout(ANSWER_WITHIN, answer(&app, routes, peer, request)).await;
                let late = || Refused::new(StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response();
                let response = answered.unwrap_or_else(|_| late());
                app.count(response.status().as_u16());
                if is_stream(&response) {
                    account.stream();
                }
                Ok::<_, Infallible>(with_headers(response))
            }
        });
        // An answer of hyper's parser itself (400, 414, 431) has no body and closes the connection; no headers can be
        // added to it.
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD_MAX);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(READ_WITHIN));
        let stream = Accounted::new(Box::pin(stream), Arc::clone(&backlog));
        let connection = http.serve_connection(TokioIo::new(stream), service);
        // Errors are ignored: a client that disconnects, or does not send HTTP, affects only its own connection.
        let (mut connection, mut closed) = (std::pin::pin!(connection), std::pin::pin!(close.notified()));
        let mut too_long = std::pin::pin!(backlog.too_long(READ_ALL_WITHIN));
        std::future::poll_fn(|context| {
            let cut = closed.as_mut().poll(context).is_ready() || too_long.as_mut().poll(context).is_ready();
            let ended = cut || connection.as_mut().poll(context).is_ready();
            if ended { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

/// The origin of a TCP connection. All clients on this machine have the same address, so the kernel is asked for the
/// user.
fn origin(from: net::SocketAddr, here: net::SocketAddr) -> ConnectionOrigin {
    let near = from.ip().to_canonical() == here.ip().to_canonical() || from.ip().to_canonical().is_loopback();
    match near.then(|| user_of(from, here)) {
        Some(Ok(uid)) => ConnectionOrigin::user(uid, own_uid()),
        Some(Err(_)) | None => ConnectionOrigin::machine(from.ip()),
    }
}

fn is_stream(response: &Response) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == EVENT_STREAM)
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

/// Waits after a failed accept, unless the connection was only closed before it was accepted.
async fn refused(error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
        sleep(WITHOUT_DESCRIPTORS).await;
    }
}
