//! Routes that open, show and close sessions.

use super::answers::{Refused, body, done, empty};
use super::app::App;
use super::guard::{Client, Peer, Viewer, cookie, cookie_name};
use super::keys::{Access, SESSION_MS, Secret};
use super::known::Known;
use super::store::{now_ms, secret};
use crate::error::Chain;
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

/// What a session is opened for.
enum Credential {
    Key(Secret),
    /// The kernel reports a user that has this permission.
    Kernel(Access),
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
        return opened(&app, &headers, known, Credential::Kernel(client.may)).await?.ok_or_else(wrong);
    };
    let key = Secret::parse(&key);
    let session = match known_key(&app, &known, key).await? {
        Some(key) => opened(&app, &headers, known, Credential::Key(key)).await?,
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

/// The key, if the file holds it. For this the file is not locked and not written, and read only if it has changed:
/// wrong keys come from clients that have proved nothing.
async fn known_key(app: &Arc<App>, known: &Known, key: Option<Secret>) -> Result<Option<Secret>, Refused> {
    let Some(key) = key else { return Ok(None) };
    let (app, known) = (Arc::clone(app), known.clone());
    let look = spawn_blocking(move || {
        app.refresh_keys(&known);
        app.keys.opens(&key).then_some(key)
    });
    done(look.await)
}

/// Opens a session, unless the key has become invalid.
async fn opened(
    app: &Arc<App>,
    headers: &HeaderMap,
    known: Known,
    credential: Credential,
) -> Result<Option<Response>, Refused> {
    let changed = Arc::clone(app);
    let opened = spawn_blocking(move || {
        let (token, csrf) = (secret()?, secret()?);
        let may = changed.keys.change(&known.store, |keys| match credential {
            Credential::Key(key) => {
                let may = keys.login(&key, now_ms())?;
                keys.open_session(&token, &csrf, may, now_ms());
                Some(may)
            }
            Credential::Kernel(may) => {
                keys.open_session_by_kernel(&token, &csrf, may, now_ms());
                Some(may)
            }
        })?;
        Ok(may.map(|may| (may, token, csrf)))
    });
    let opened = done(opened.await)?.map_err(|error| unusable(app, &error))?;
    Ok(opened.map(|(may, token, csrf)| {
        let mut response = welcome(app.capped(may), &csrf);
        let cookie = cookie_header(app, headers, &token.text(), SESSION_MS / 1_000);
        response.headers_mut().insert(SET_COOKIE, cookie);
        response
    }))
}

/// 500 without the reason, which names files: it is printed, for the user of the console.
fn unusable(app: &App, error: &io::Error) -> Refused {
    (app.config.texts.say)(&format!("cannot use the keys of the console: {}", Chain(error)));
    Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "the keys cannot be read or written; the console has printed why")
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
        done(closed.await)?.map_err(|error| unusable(&app, &error))?;
    }
    let mut response = empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(SET_COOKIE, cookie_header(&app, &headers, "", 0));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::host::Door;
    use axum::body::to_bytes;
    use tokio::sync::Notify;

    /// Status and text of the answer to a login over TCP.
    fn login_with(app: &Arc<App>, key: &str) -> (StatusCode, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let door = Door::Tcp(([127, 0, 0, 1], 8808).into());
        let peer = Peer { door, address: String::new(), uid: None, close: Arc::new(Notify::new()) };
        let sent = Ok(Json(Login { key: Some(key.to_owned()) }));
        runtime.block_on(async {
            let answer = login(State(Arc::clone(app)), Extension(peer), HeaderMap::new(), sent).await.into_response();
            let status = answer.status();
            let text = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            (status, String::from_utf8(text.to_vec()).unwrap())
        })
    }

    #[test]
    fn a_wrong_key_touches_no_file_and_learns_nothing_of_it() {
        let (base, app) = App::in_test();
        let store = &app.known().unwrap().store;
        let (link, _) = store.login_key(Access::Act).unwrap();
        let before = store.stamp();
        let wrong = Secret::of([3; 32]).text();
        assert_eq!(login_with(&app, &wrong).0, StatusCode::UNAUTHORIZED);
        assert_eq!(store.stamp(), before);
        while app.may_try() {}
        assert_eq!(login_with(&app, &wrong).0, StatusCode::TOO_MANY_REQUESTS);
        // The lock is not needed either.
        let lock = crate::os::lock::LockFile::acquire(&app.known().unwrap().state.path().join("web-keys.lock"));
        assert_eq!(login_with(&app, &wrong).0, StatusCode::TOO_MANY_REQUESTS);
        drop(lock.unwrap());
        // A link that another process has just made opens at once, and one time.
        let (another, _) = store.login_key(Access::View).unwrap();
        for (key, may) in [(&another, "view"), (&link, "act")] {
            let (status, text) = login_with(&app, &key.text());
            assert!(status == StatusCode::OK && text.contains(may), "{status} {text}");
            assert_eq!(login_with(&app, &key.text()).0, StatusCode::TOO_MANY_REQUESTS);
        }
        // No client learns where the file is that others may read.
        let (link, _) = store.login_key(Access::Act).unwrap();
        store.set_mode(0o644);
        let (status, text) = login_with(&app, &link.text());
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        assert!(!text.contains(base.path().to_str().unwrap()), "{text}");
    }
}
