//! Routes that open, show and close sessions.

use super::answers::{Refused, body, empty, failed};
use super::app::App;
use super::guard::{Client, Peer, Viewer, cookie, cookie_name};
use super::keys::{Access, Keys, SESSION_MS, Secret};
use super::known::Known;
use super::store::{now_ms, secret};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, State};
use axum::http::header::{HeaderMap, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// The delay of the answer to a wrong key.
const WRONG_KEY: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
pub(super) struct Login {
    key: Option<String>,
}

/// Opens a session for a key. Without a key it returns the permission of the page's session, or, on a UNIX socket,
/// opens a session for a user that the kernel vouches for. The CSRF value is handed out once; the cookie alone is not
/// enough to get it again.
pub(super) async fn login(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    sent: Result<Json<Login>, JsonRejection>,
) -> Result<Response, Refused> {
    let Login { key } = body(sent)?;
    let wrong = || app.unproved("this key opens nothing, or no longer");
    let known = app.known()?.clone();
    let Some(key) = key else {
        let client = Client::of(&app, &peer, &headers);
        if let Some((may, csrf)) = client.and_then(|client| Some((client.may, client.csrf(&app, &headers)?))) {
            return Ok(welcome(may, &csrf));
        }
        let client = Client::by_kernel(&app, &peer).ok_or_else(wrong)?;
        return opened(&app, &headers, known, move |_| Some(client.may)).await?.ok_or_else(wrong);
    };
    let session = match Secret::parse(&key) {
        Some(key) => opened(&app, &headers, known, move |keys| keys.login(&key, now_ms())).await?,
        None => None,
    };
    match session {
        Some(session) => Ok(session),
        // Only wrong keys are limited, so an attacker cannot lock out the owner, whose key is right. No number of
        // attempts finds a key of 256 bits.
        None if !app.may_try() => {
            Err(Refused::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong keys; try again in a minute"))
        }
        None => {
            sleep(WRONG_KEY).await;
            Err(wrong())
        }
    }
}

/// Opens a session with the permission that `may` returns, if any.
async fn opened(
    app: &Arc<App>,
    headers: &HeaderMap,
    known: Known,
    may: impl FnOnce(&mut Keys) -> Option<Access> + Send + 'static,
) -> Result<Option<Response>, Refused> {
    let changed = Arc::clone(app);
    let opened = spawn_blocking(move || {
        let (token, csrf) = (secret()?, secret()?);
        let may = changed.keys.change(&known.store, |keys| {
            let may = may(keys)?;
            keys.open_session(&token, &csrf, may, now_ms());
            Some(may)
        })?;
        Ok(may.map(|may| (may, token, csrf)))
    });
    let opened = opened.await.map_err(io::Error::other).and_then(|opened| opened).map_err(|error| failed(&error))?;
    Ok(opened.map(|(may, token, csrf)| {
        let mut response = welcome(app.capped(may), &csrf);
        let cookie = cookie_header(app, headers, &token.text(), SESSION_MS / 1_000);
        response.headers_mut().insert(SET_COOKIE, cookie);
        response
    }))
}

fn welcome(may: Access, csrf: &Secret) -> Response {
    Json(json!({ "may": may, "csrf": csrf.text() })).into_response()
}

fn cookie_header(app: &App, headers: &HeaderMap, value: &str, seconds: u64) -> HeaderValue {
    let public = app.config.public_url.as_ref();
    let path = public.map(|public| public.path()).unwrap_or_default();
    let secure = if public.is_some_and(|public| public.is_https()) { "; Secure" } else { "" };
    let name = cookie_name(app, headers);
    let text = format!("{name}={value}; Path={path}/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    // The path of the public URL was checked when it was parsed, so the value is valid.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

pub(super) async fn logout(
    State(app): State<Arc<App>>,
    Viewer(_): Viewer,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    if let Some(token) = cookie(&app, &headers) {
        let known = app.known()?.clone();
        let changed = Arc::clone(&app);
        let closed = spawn_blocking(move || changed.keys.change(&known.store, |keys| keys.close_session(&token)));
        closed.await.map_err(io::Error::other).and_then(|closed| closed).map_err(|error| failed(&error))?;
    }
    let mut response = empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(SET_COOKIE, cookie_header(&app, &headers, "", 0));
    Ok(response)
}
