//! Access control: checks of every request, the permissions of the client that sent it, and the headers of every
//! answer.

use super::answers::Refused;
use super::app::App;
use super::host::{Door, is_our_origin, is_ours, port_of};
use super::keys::{Access, Proof, Secret};
use crate::os::process::own_uid;
use axum::extract::FromRequestParts;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use std::sync::Arc;
use tokio::sync::Notify;

/// The header that a page sends with each request that changes something.
const CSRF: &str = "x-treevisor-csrf";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The origin of a request.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) door: Door,
    /// The client's address, or the user of a UNIX socket, to be named in events.
    pub(super) address: String,
    /// The user id that the kernel reports; only for a UNIX socket.
    pub(super) uid: Option<u32>,
    /// Notified to close the connection.
    pub(super) close: Arc<Notify>,
}

/// The first check of every request. It also removes the path of the public URL from the request's path.
pub(super) fn admit(app: &App, peer: &Peer, parts: &mut Parts) -> Result<(), Refused> {
    let public = app.config.public_url.as_ref();
    let misdirected = || Refused::new(StatusCode::MISDIRECTED_REQUEST, "this is no name of the console");
    let host = only(&parts.headers, &HOST).ok_or_else(misdirected)?;
    let named = parts.uri.authority().is_none_or(|named| is_ours(named.as_str(), peer.door, public));
    if !named || !is_ours(host, peer.door, public) {
        return Err(misdirected());
    }
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        let origin = only(&parts.headers, &ORIGIN).is_some_and(|origin| is_our_origin(origin, peer.door, public));
        if !origin {
            return Err(Refused::new(StatusCode::FORBIDDEN, "only a page of the console may ask for this"));
        }
        let kind = only(&parts.headers, &CONTENT_TYPE).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body has to be application/json"));
        }
    }
    if let Some(public) = public.filter(|public| !public.path().is_empty()) {
        // A proxy may have removed the prefix already.
        let rest = parts.uri.path_and_query().and_then(|path| path.as_str().strip_prefix(public.path()));
        if let Some(Ok(uri)) = rest.filter(|rest| rest.starts_with('/')).map(str::parse::<Uri>) {
            parts.uri = uri;
        }
    }
    Ok(())
}

/// The value of a header; `None` if it is absent or repeated.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The key in a header of the scheme Bearer. Other schemes are not ours: a browser sends Basic with each request behind
/// a proxy that has a login of its own.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(AUTHORIZATION).iter().filter_map(|value| value.to_str().ok());
    let mut schemes = values.filter_map(|value| value.trim().split_once(' '));
    let bearer = schemes.find(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    bearer.map(|(_, key)| key.trim())
}

/// The security headers of every answer.
pub(super) const IN_EACH: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Adds these headers to an answer.
pub(super) fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in &IN_EACH {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A client's permission, and what proves it.
pub(super) struct Client {
    pub(super) may: Access,
    pub(super) proof: Proof,
}

impl Client {
    /// The client that has sent a request; `None` if it has proved nothing.
    pub(super) fn of(app: &App, peer: &Peer, headers: &HeaderMap) -> Option<Client> {
        if let Some(key) = bearer(headers) {
            let key = Secret::parse(key)?;
            return Some(Client { may: app.bearer(&key)?, proof: Proof::Key(key) });
        }
        let by_session = cookie(app, headers).and_then(|token| {
            let may = app.session(&token)?;
            Some(Client { may, proof: Proof::Session(token) })
        });
        by_session.or_else(|| Client::by_kernel(app, peer))
    }

    /// The client of a UNIX socket, by the user that the kernel reports.
    pub(super) fn by_kernel(app: &App, peer: &Peer) -> Option<Client> {
        // With a public URL, the kernel reports the user of the proxy.
        let known = app.config.public_url.is_none() && peer.uid.is_some_and(|uid| uid == 0 || uid == own_uid());
        known.then(|| Client { may: app.capped(Access::Act), proof: Proof::Kernel })
    }

    /// The CSRF value in the request, if it is that of the session's own page; otherwise `None`.
    pub(super) fn csrf(&self, app: &App, headers: &HeaderMap) -> Option<Secret> {
        let sent = Secret::parse(only(headers, &HeaderName::from_static(CSRF))?)?;
        let Proof::Session(token) = &self.proof else { return None };
        app.keys.is_page_of(token, &sent).then_some(sent)
    }
}

/// The name of the cookie, given the headers of a request.
pub(super) fn cookie_name(app: &App, headers: &HeaderMap) -> String {
    app.cookie_name(only(headers, &HOST).and_then(port_of))
}

/// The session token in the cookie. If several cookies of that name are sent, as with an old path or by another page
/// of the host, the first of a session that has not ended.
pub(super) fn cookie(app: &App, headers: &HeaderMap) -> Option<Secret> {
    let ours = cookie_name(app, headers);
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == ours)
        .filter_map(|(_, value)| Secret::parse(value))
        .find(|token| app.session(token).is_some())
}

/// A client that may view.
pub(super) struct Viewer(pub(super) Client);

/// A client that may act: it has a session, and the request comes from the session's page.
pub(super) struct Actor(pub(super) Client);

impl FromRequestParts<Arc<App>> for Viewer {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Viewer, Refused> {
        let client = parts.extensions.get::<Peer>().and_then(|peer| Client::of(app, peer, &parts.headers));
        let client = client.ok_or_else(|| app.unproved("log in first"))?;
        let changes = !matches!(parts.method, Method::GET | Method::HEAD);
        if changes && matches!(client.proof, Proof::Session(_)) && client.csrf(app, &parts.headers).is_none() {
            let text = "X-Treevisor-CSRF is missing, or is not the one that the login of this session has answered";
            return Err(Refused::new(StatusCode::FORBIDDEN, text));
        }
        Ok(Viewer(client))
    }
}

impl FromRequestParts<Arc<App>> for Actor {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Actor, Refused> {
        let Viewer(client) = Viewer::from_request_parts(parts, app).await?;
        if !matches!(client.proof, Proof::Session(_)) {
            return Err(Refused::new(StatusCode::FORBIDDEN, "to act takes a session: log in"));
        }
        if client.may < Access::Act {
            return Err(Refused::new(StatusCode::FORBIDDEN, "this session may look on, not act"));
        }
        Ok(Actor(client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::store::now_ms;

    #[test]
    fn only_a_bearer_takes_the_place_of_a_session() {
        let (_base, app) = App::in_test();
        let (token, csrf) = (Secret::of([1; 32]), Secret::of([2; 32]));
        let store = &app.known.get().unwrap().store;
        app.keys.change(store, |keys| keys.open_session(&token, &csrf, Access::View, now_ms())).unwrap();
        let uid = Some(own_uid());
        let peer = |uid| Peer { door: Door::Unix, address: String::new(), uid, close: Arc::new(Notify::new()) };
        let client = |uid, cookie: bool, authorization: &[&str]| {
            let mut headers = HeaderMap::new();
            if cookie {
                // Another page of the host can set a cookie of this name, with a path that a browser sends first.
                let (name, planted) = (app.cookie_name(None), Secret::of([9; 32]).text());
                let cookie = format!("{name}={planted}; {name}={}", token.text());
                headers.insert(COOKIE, HeaderValue::try_from(cookie).unwrap());
            }
            for value in authorization {
                headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            Client::of(&app, &peer(uid), &headers).map(|client| client.proof)
        };
        for other in [&["Basic b3BzOm9wcw=="][..], &["Negotiate"], &["Basic b3BzOm9wcw==", "Digest x"]] {
            assert!(matches!(client(None, true, other), Some(Proof::Session(_))), "{other:?}");
            assert!(matches!(client(uid, false, other), Some(Proof::Kernel)), "{other:?}");
            assert!(client(None, false, other).is_none(), "{other:?}");
        }
        let unknown = format!("bearer {}", Secret::of([3; 32]).text());
        for wrong in [&[&*unknown][..], &["Bearer x"], &["Basic b3BzOm9wcw==", &unknown]] {
            assert!(client(uid, true, wrong).is_none(), "{wrong:?}");
        }
    }
}
