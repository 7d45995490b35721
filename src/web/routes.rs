//! The routes, and the permission that each requires.

use super::answers::{Refused, empty};
use super::app::App;
use super::assets::Assets;
use super::{live, login, past, plain, scrape};
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path as At};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::sync::Arc;

/// Most bytes of a request's body.
const BODY_MAX: usize = 64 << 10;

pub(super) fn routes(app: Arc<App>) -> Router {
    let mut routes = Router::new().route("/healthz", get(healthz)).route("/metrics", get(scrape::metrics));
    if !app.config.no_pages {
        routes = routes
            .route("/", get(page))
            .route("/assets/{name}", get(asset))
            .route("/login", post(login::login))
            .route("/logout", post(login::logout))
            .route("/plain", get(plain::root))
            .route("/plain/", get(plain::root))
            .route("/plain/{*path}", get(plain::at))
            .route("/api/tree", get(live::tree))
            .route("/api/stream", get(live::stream))
            .route("/api/view", post(live::view))
            .route("/api/act", post(live::act))
            .route("/api/status", get(past::status_root))
            .route("/api/status/", get(past::status_root))
            .route("/api/status/{*path}", get(past::status))
            .route("/api/hosts", get(live::hosts))
            .route("/api/events", get(past::events))
            .route("/api/why", get(past::why_root))
            .route("/api/why/", get(past::why_root))
            .route("/api/why/{*path}", get(past::why))
            .route("/api/logs", get(past::logs_root))
            .route("/api/logs/", get(past::logs_root))
            .route("/api/logs/{*path}", get(past::logs));
    }
    routes
        .fallback(|| async { Refused::new(StatusCode::NOT_FOUND, "there is nothing of that name") })
        .method_not_allowed_fallback(|| async {
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, "it cannot be asked for in this way")
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(app)
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
