//! What can be asked for, and who may ask.

use super::app::App;
use super::ask::Unanswered;
use super::assets::Assets;
use super::guard::{COOKIE_NAME, Client, How, Peer, Refused, Viewer, cookie, empty};
use super::keys::{May, SESSION_MS, Secret};
use super::known::Known;
use super::store::{now_ms, secret};
use super::table::Table;
use crate::ids::Path;
use crate::os::clock;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Extension, Path as At, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// The most bytes of a request's body.
const BODY_MAX: usize = 64 << 10;

/// What a wrong key costs.
const WRONG_KEY: Duration = Duration::from_secs(1);

/// All that can be asked for.
pub(super) fn routes(app: Arc<App>) -> Router {
    let mut routes = Router::new().route("/healthz", get(healthz));
    if !app.config.no_pages {
        routes = routes
            .route("/", get(page))
            .route("/assets/{name}", get(asset))
            .route("/login", post(login))
            .route("/logout", post(logout))
            .route("/plain", get(plain_root))
            .route("/plain/", get(plain_root))
            .route("/plain/{*path}", get(plain))
            .route("/api/tree", get(tree));
    }
    routes
        .fallback(|| async { Refused::new(StatusCode::NOT_FOUND, "there is nothing of that name") })
        .method_not_allowed_fallback(|| async {
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, "it cannot be asked for in this way")
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(app)
}

impl From<Unanswered> for Refused {
    fn from(unanswered: Unanswered) -> Refused {
        match unanswered {
            Unanswered::Gone => Refused::new(StatusCode::SERVICE_UNAVAILABLE, "the instance does not run"),
            Unanswered::Silent(text) | Unanswered::Down(text) => Refused::new(StatusCode::SERVICE_UNAVAILABLE, text),
            Unanswered::NoPath(text) => Refused::new(StatusCode::NOT_FOUND, text),
        }
    }
}

fn failed(error: &io::Error) -> Refused {
    Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

impl App {
    fn known(&self) -> Result<&Known, Refused> {
        self.known.get().ok_or_else(|| Unanswered::Gone.into())
    }
}

/// The body of a request.
pub(super) fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Refused> {
    body.map(|Json(body)| body).map_err(|error| Refused::new(error.status(), error.body_text()))
}

pub(super) fn path_of(text: &str) -> Result<Path, Refused> {
    let path = format!("/{}", text.trim_matches('/'));
    Path::parse(&path).map_err(|error| Refused::new(StatusCode::NOT_FOUND, error.to_string()))
}

async fn healthz() -> Response {
    empty(StatusCode::NO_CONTENT)
}

async fn page() -> Response {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], Assets::own().page()).into_response()
}

async fn asset(At(name): At<String>) -> Response {
    let Some(asset) = Assets::own().find(&name) else { return empty(StatusCode::NOT_FOUND) };
    let forever = "public, max-age=31536000, immutable";
    ([(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, forever)], Body::from(&asset.content[..])).into_response()
}

#[derive(Deserialize)]
struct Login {
    key: Option<String>,
}

/// Opens a session for a key. Without one, tells the page of a session its value for CSRF again; on a UNIX socket, opens one
/// for a user that the kernel vouches for.
async fn login(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    sent: Result<Json<Login>, JsonRejection>,
) -> Result<Response, Refused> {
    let Login { key } = body(sent)?;
    let wrong = || Refused::new(StatusCode::UNAUTHORIZED, "this key opens nothing, or no longer");
    let known = app.known()?.clone();
    let Some(key) = key else {
        let client = Client::of(&app, &peer, &headers).ok_or_else(wrong)?;
        return match (client.how, client.token()) {
            (How::Session, Some(token)) => Ok(welcome(client.may, token)),
            (How::Kernel, _) => opened(&app, known, move |_| Some(client.may)).await?.ok_or_else(wrong),
            _ => Err(wrong()),
        };
    };
    if !app.may_try() {
        return Err(Refused::new(StatusCode::TOO_MANY_REQUESTS, "too many logins; try again in a minute"));
    }
    let session = match Secret::parse(&key) {
        Some(key) => opened(&app, known, move |keys| keys.login(&key, now_ms())).await?,
        None => None,
    };
    match session {
        Some(session) => Ok(session),
        None => {
            sleep(WRONG_KEY).await;
            Err(wrong())
        }
    }
}

/// Opens a session for what `may` allows, if it allows anything.
async fn opened(
    app: &App,
    known: Known,
    may: impl FnOnce(&mut super::keys::Keys) -> Option<May> + Send + 'static,
) -> Result<Option<Response>, Refused> {
    let opened = spawn_blocking(move || {
        let token = secret()?;
        let (may, keys) = known.store.change(|keys| {
            let may = may(keys)?;
            keys.open_session(&token, may, now_ms());
            Some(may)
        })?;
        Ok((may.map(|may| (may, token)), keys))
    });
    let (opened, keys) =
        opened.await.map_err(io::Error::other).and_then(|opened| opened).map_err(|error| failed(&error))?;
    app.set_keys(Some(keys));
    Ok(opened.map(|(may, token)| {
        let mut response = welcome(app.capped(may), &token);
        let cookie = cookie_header(app, &token.text(), SESSION_MS / 1_000);
        response.headers_mut().insert(SET_COOKIE, cookie);
        response
    }))
}

fn welcome(may: May, token: &Secret) -> Response {
    Json(json!({ "may": may, "csrf": token.csrf() })).into_response()
}

fn cookie_header(app: &App, value: &str, seconds: u64) -> HeaderValue {
    let public = app.config.public_url.as_ref();
    let path = public.map(|public| public.path()).unwrap_or_default();
    let secure = if public.is_some_and(|public| public.is_https()) { "; Secure" } else { "" };
    let text = format!("{COOKIE_NAME}={value}; Path={path}/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    // The path of a public URL was looked at when it was read.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

async fn logout(State(app): State<Arc<App>>, Viewer(_): Viewer, headers: HeaderMap) -> Result<Response, Refused> {
    if let Some(token) = cookie(&headers) {
        let known = app.known()?.clone();
        let closed = spawn_blocking(move || known.store.change(|keys| keys.close_session(&token)));
        let closed = closed.await.map_err(io::Error::other).and_then(|closed| closed);
        let ((), keys) = closed.map_err(|error| failed(&error))?;
        app.set_keys(Some(keys));
    }
    let mut response = empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(SET_COOKIE, cookie_header(&app, "", 0));
    Ok(response)
}

async fn plain_root(app: State<Arc<App>>, viewer: Viewer) -> Result<Response, Refused> {
    plain(app, viewer, At(String::new())).await
}

/// What `treevisor status` prints.
async fn plain(State(app): State<Arc<App>>, _: Viewer, At(path): At<String>) -> Result<Response, Refused> {
    let status = app.asker.status(&path_of(&path)?).await?;
    Ok((app.config.texts.plain)(&status).into_response())
}

async fn tree(State(app): State<Arc<App>>, _: Viewer) -> Result<Response, Refused> {
    let status = app.asker.status(&Path::root()).await?;
    let mut table = Table::default();
    table.whole(&status, 0);
    Ok(Json(table.columns("", &clock::rfc3339_now())).into_response())
}
