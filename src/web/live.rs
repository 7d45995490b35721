//! Routes for the present tree, the stream of its events, and actions on it.

use super::act::{Action, First};
use super::answers::{Refused, body, empty};
use super::app::App;
use super::ask::Unanswered;
use super::cluster::Seen;
use super::guard::{Actor, Peer, Viewer};
use super::hub::Root;
use super::keys::Proof;
use super::page::{IN_VIEW, StreamRequest, View};
use super::shared::now_ms;
use super::store::secret;
use super::stream::{EVENT_STREAM, Stream};
use crate::ids::Path;
use crate::os::clock;
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait for the tree. It is complete when the root has answered twice.
const TREE_WITHIN: Duration = Duration::from_secs(6);

/// The whole tree, in columns.
pub(super) async fn tree(State(app): State<Arc<App>>, _: Viewer) -> Result<Response, Refused> {
    app.use_hub();
    let find = |hub: &mut super::hub::Hub| {
        if hub.root() == Root::Gone {
            return Some(Err(Unanswered::Gone));
        }
        hub.tree(&clock::rfc3339_now(), now_ms()).map(Ok)
    };
    let silent = || Err(Unanswered::Silent("the root does not answer".into()));
    let mut tree = app.shared.wait_for(TREE_WITHIN, find).await.unwrap_or_else(silent)?;
    tree["self"] = json!(app.own_path);
    Ok(Json(tree).into_response())
}

/// The JSON of `treevisor hosts --json`; `null` if this machine is not a host.
pub(super) async fn hosts(State(app): State<Arc<App>>, _: Viewer) -> Result<Response, Refused> {
    match app.cluster.seen().await {
        Seen::View(view) => Ok(Json(&*view).into_response()),
        Seen::NoHost => Ok(Json(()).into_response()),
        Seen::Silent(why) => Err(Refused::unavailable(why)),
    }
}

#[derive(Deserialize)]
pub(super) struct From {
    from: Option<u64>,
    run: Option<String>,
}

/// The stream of events, from now on or from where the page was.
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Viewer(client): Viewer,
    headers: HeaderMap,
    from: Result<Query<From>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(From { from, run }) = from.map_err(|error| Refused::new(error.status(), error.body_text()))?;
    // A browser that reconnects uses the same URL and sends the number of its last event in a header, which takes
    // precedence.
    let last = headers.get(HeaderName::from_static("last-event-id"));
    let last = last.and_then(|last| last.to_str().ok()).and_then(|last| last.parse().ok());
    let id = secret().map_err(|error| super::answers::failed(&error))?.text();
    let request = StreamRequest { from: last.or(from), run, proof: client.proof };
    let opened = app.shared.lock().open(id[..32].to_owned(), client.may, &request, peer.close, now_ms());
    opened.ok_or_else(|| Refused::unavailable("too many pages are open"))?;
    app.use_hub();
    let stream = Stream::of(id[..32].to_owned(), Arc::clone(&app.shared));
    // Keeps a proxy (nginx) from buffering the stream.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), "no");
    Ok(([(CONTENT_TYPE, EVENT_STREAM), unbuffered], Body::new(stream)).into_response())
}

/// A path, or several.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Paths {
    #[default]
    None,
    One(Path),
    Some(Vec<Path>),
}

#[derive(Deserialize)]
pub(super) struct Shown {
    stream: String,
    #[serde(default)]
    paths: Vec<Path>,
    #[serde(default)]
    select: Option<Path>,
    #[serde(default)]
    logs: Paths,
}

/// Takes the report of a page what it shows.
pub(super) async fn view(
    State(app): State<Arc<App>>,
    _: Viewer,
    shown: Result<Json<Shown>, JsonRejection>,
) -> Result<Response, Refused> {
    let Shown { stream, mut paths, select, logs } = body(shown)?;
    paths.truncate(IN_VIEW);
    let mut logs = match logs {
        Paths::None => Vec::new(),
        Paths::One(path) => vec![path],
        Paths::Some(paths) => paths,
    };
    logs.truncate(IN_VIEW);
    if !app.shared.lock().show(&stream, View { paths, select, logs }, now_ms()) {
        return Err(Refused::new(StatusCode::NOT_FOUND, "this stream is not open"));
    }
    app.asker.look();
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Carries out an action on a child, if its run and incarnation are still those that the page shows.
pub(super) async fn act(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Actor(client): Actor,
    action: Result<Json<Action>, JsonRejection>,
) -> Result<Response, Refused> {
    let action = body(action)?;
    let known = app.known()?;
    let path = action.path.clone();
    // Asked first, so that a root that does not answer, or has no such path, makes this request fail.
    app.asker.status_alone(&path).await?;
    let by_kernel = matches!(&client.proof, Proof::Session(token) if app.keys.is_by_kernel(token));
    let proof = if by_kernel { "unix socket" } else { "acting key" };
    let behalf = format!("web, {proof}, {}", peer.address);
    let begun = app.actions.begin(known, &app.shared, action, &behalf);
    let begun = begun.ok_or_else(|| Refused::unavailable("too many actions are under way"))?;
    let number = begun.number;
    Ok(match begun.first().await {
        First::Taken => (StatusCode::ACCEPTED, Json(json!({ "action": number }))).into_response(),
        First::Changed(error) => {
            let now = app.asker.status_alone(&path).await?;
            let told = json!({ "error": error, "incarnation": now.root.incarnation() });
            (StatusCode::CONFLICT, Json(told)).into_response()
        }
    })
}
