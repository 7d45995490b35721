//! `/metrics`: the status of the tree in Prometheus's text format, and the console's own counters.

use super::answers::Refused;
use super::app::App;
use super::cluster::Seen;
use super::guard::{Client, Peer};
use crate::metrics::{self, Kind, Page, Wanted, label};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The media type of a page.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Limit for a scrape.
const WITHIN: Duration = Duration::from_secs(5);

/// The page of a scrape. Its parameters are the options of `treevisor metrics`.
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    parameters: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Refused> {
    if !app.config.open_metrics && Client::of(&app, &peer, &headers).is_none() {
        let text = "a key is needed, in a header `Authorization: Bearer KEY`; `treevisor web --new-keys` prints one for looking on, and \
                    a console with --open-metrics asks for none";
        return Err(app.unproved(text));
    }
    let Query(parameters) = parameters.map_err(|error| Refused::new(error.status(), error.body_text()))?;
    let mut wanted = Wanted::default();
    for (name, value) in &parameters {
        wanted.set(name, value).map_err(|error| Refused::new(StatusCode::BAD_REQUEST, error))?;
    }
    let mut page = match timeout(WITHIN, app.recent.status(&app.asker)).await.ok().flatten() {
        Some((_, status)) if wanted.finds_nothing(&status.root) => {
            let named: Vec<&str> = wanted.paths.iter().map(|path| path.as_str()).collect();
            let text = format!("nothing in this tree is called {}; /api/status shows its paths", named.join(" or "));
            return Err(Refused::new(StatusCode::NOT_FOUND, text));
        }
        Some((took, status)) => {
            let mut page = metrics::of(&status, took, &wanted);
            own(&mut page, &app.answered(), app.shared.lock().pages());
            page
        }
        None => metrics::without(app.known.get().map(|known| known.name.as_str())),
    };
    match app.cluster.seen().await {
        Seen::View(view) => metrics::hosts::add(&mut page, &view),
        Seen::Silent(_) => metrics::hosts::silent(&mut page),
        Seen::NoHost => {}
    }
    Ok(([(CONTENT_TYPE, PROMETHEUS)], page.into_text()).into_response())
}

/// The console's own counters.
fn own(page: &mut Page, answered: &BTreeMap<u16, u64>, streams: usize) {
    page.family("treevisor_web_requests_total", Kind::Counter, "Requests that the console has answered.");
    for (code, count) in answered {
        page.row(&label("code", &code.to_string()), "", *count);
    }
    page.family("treevisor_web_streams", Kind::Gauge, "Pages of the console that are open.");
    page.row("", "", streams);
}
