//! `/plain`: the text of `treevisor status`, for curl, w3m and browsers without JavaScript. If the root does not answer
//! or run, the page begins with that, followed by the last status that it has shown.

use super::answers::{Refused, path_of};
use super::app::App;
use super::ask::Unanswered;
use super::guard::Viewer;
use super::shared::now_ms;
use axum::extract::{Path as At, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// The status of the whole tree.
pub(super) async fn root(app: State<Arc<App>>, viewer: Viewer) -> Response {
    at(app, viewer, At(String::new())).await
}

/// The status of the child at a path.
pub(super) async fn at(State(app): State<Arc<App>>, _: Viewer, At(path): At<String>) -> Response {
    told(&app, &path).await.unwrap_or_else(Refused::in_words)
}

async fn told(app: &App, path: &str) -> Result<Response, Refused> {
    let path = path_of(path)?;
    let unanswered = match app.asker.status(&path).await {
        Ok(status) => {
            app.last.keep(&path, &status);
            return Ok((app.config.texts.plain)(&status).into_response());
        }
        Err(unanswered) => unanswered,
    };
    let known = app.known()?;
    let (what, do_now) = match unanswered {
        Unanswered::Silent(_) => {
            let silent = app.shared.lock().silent(now_ms());
            let since = silent.map_or_else(String::new, |silent| format!("; it has not for {}", silent.coarse()));
            let panic = format!(
                "`treevisor panic --force -i {} {path}`, from a shell on its machine, does without it",
                known.name
            );
            (format!("the root of \"{}\" does not answer{since}", known.name), panic)
        }
        Unanswered::Gone => {
            (format!("\"{}\" does not run", known.name), "the console waits for its next run".to_owned())
        }
        other @ (Unanswered::NoPath(_) | Unanswered::Down(_)) => return Err(other.into()),
    };
    let then = app.last.of(&path).map_or_else(String::new, |(age, status)| {
        format!("\nAs it was {} ago:\n\n{}", age.coarse(), (app.config.texts.plain)(&status))
    });
    Ok((StatusCode::SERVICE_UNAVAILABLE, format!("{what}\n{do_now}\n{then}")).into_response())
}
