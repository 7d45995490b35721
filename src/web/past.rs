//! Routes about a part of the tree: status, events, explanation and output.

use super::answers::{Refused, done, failed, path_of};
use super::app::App;
use super::ask::Unanswered;
use super::guard::Viewer;
use super::history::{self, EVENTS_MAX, Remembered};
use super::hub::{Root, SILENCE};
use crate::control::journal::Filter;
use crate::control::line_order::{by_worker, in_order};
use crate::control::logs::LogsAsked;
use crate::control::{AskError, Session};
use crate::ids::Path;
use crate::wire::view::{EventBody, LogView};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path as At, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;

/// How long to wait for the events that the root has in memory.
const EVENTS_WITHIN: Duration = Duration::from_secs(5);

/// Most lines of one answer, and the default.
const LINES_MAX: u64 = 10_000;
const LINES: u64 = 200;

type Queried<T> = Result<Query<T>, QueryRejection>;

fn query<T>(query: Queried<T>) -> Result<T, Refused> {
    query.map(|Query(query)| query).map_err(|error| Refused::new(error.status(), error.body_text()))
}

fn top() -> At<String> {
    At(String::new())
}

pub(super) async fn status_root(app: State<Arc<App>>, viewer: Viewer) -> Result<Response, Refused> {
    status(app, viewer, top()).await
}

/// The JSON of `treevisor status --json`.
pub(super) async fn status(State(app): State<Arc<App>>, _: Viewer, At(path): At<String>) -> Result<Response, Refused> {
    let status = app.asker.status(&path_of(&path)?).await?;
    Ok(Json(&*status).into_response())
}

impl App {
    /// Waits until all events of the present run that the root has in memory are known.
    async fn caught_up(&self) -> Result<(), Refused> {
        self.use_hub();
        let known = |hub: &mut super::hub::Hub| (hub.root() == Root::Gone || hub.is_caught_up()).then_some(());
        self.shared.wait_for(EVENTS_WITHIN, known).await.ok_or_else(silent)
    }

    /// The events of the present run that the root has in memory, and a permit to read more. The events are copied, so
    /// the permit comes first.
    async fn remembered(&self) -> Result<(Permit, Remembered), Refused> {
        // A request that waits for the root keeps no permit from others.
        self.caught_up().await?;
        let permit = self.permit().await;
        // If that took long, the root may not be followed any more.
        self.caught_up().await?;
        let hub = self.shared.lock();
        if hub.root() == Root::Gone {
            return Ok((permit, Remembered::default()));
        }
        let (events, forgotten) = hub.events_kept().ok_or_else(silent)?;
        Ok((permit, Remembered { events: Some(events), forgotten, run: hub.run().to_owned() }))
    }

    /// Waits for a permit to read journals or output.
    async fn permit(&self) -> Permit {
        Permit(Arc::clone(&self.readers).acquire_owned().await.ok())
    }
}

fn silent() -> Refused {
    Unanswered::Silent("the root does not answer".into()).into()
}

/// A permit to read journals or output. There are few, so that readers leave threads for others.
struct Permit(
    /// Always there, as the semaphore is never closed.
    #[expect(dead_code, reason = "held until the permit is dropped")]
    Option<OwnedSemaphorePermit>,
);

impl Permit {
    /// Runs a task that reads. The task holds the permit until it ends: it goes on if the client disconnects.
    async fn read<T: Send + 'static>(self, read: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
        let task = spawn_blocking(move || {
            let done = read();
            drop(self);
            done
        });
        done(task.await)
    }
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    path: Option<String>,
    kind: Option<String>,
    since: Option<String>,
    until: Option<String>,
    n: Option<usize>,
}

/// The JSON of `treevisor events --json`, as a list.
pub(super) async fn events(
    State(app): State<Arc<App>>,
    _: Viewer,
    wanted: Queried<Wanted>,
) -> Result<Response, Refused> {
    let Wanted { path, kind, since, until, n } = query(wanted)?;
    let bad = |text: String| Refused::new(StatusCode::BAD_REQUEST, text);
    let moment = |text: Option<String>| text.map(|text| (app.config.texts.moment)(&text)).transpose().map_err(bad);
    let kinds: Vec<String> = kind.iter().flat_map(|kinds| kinds.split(',')).map(str::to_owned).collect();
    if let Some(unknown) = kinds.iter().find(|kind| !EventBody::KINDS.contains(&kind.as_str())) {
        return Err(bad(format!("there is no kind of event \"{}\"", unknown.escape_debug())));
    }
    let looks_back = since.is_some() || until.is_some() || n.is_some();
    let (since, until) = (moment(since)?, moment(until)?);
    let path = path.as_deref().map(path_of).transpose()?;
    let filter = Filter { path, kinds, since, until, ..Filter::default() };
    let known = app.known()?.clone();
    let (permit, remembered) = app.remembered().await?;
    let most = n.unwrap_or(EVENTS_MAX).min(EVENTS_MAX);
    let read = permit.read(move || {
        let events = history::events(&known, &remembered, filter, looks_back, most).map_err(|error| failed(&error))?;
        serde_json::to_string(&events).map_err(|error| failed(&error))
    });
    Ok(json(read.await??))
}

pub(super) async fn why_root(app: State<Arc<App>>, viewer: Viewer) -> Result<Response, Refused> {
    why(app, viewer, top()).await
}

/// The JSON of `treevisor why --json`.
pub(super) async fn why(State(app): State<Arc<App>>, _: Viewer, At(path): At<String>) -> Result<Response, Refused> {
    let path = path_of(&path)?;
    let now = match app.asker.status(&path).await {
        Ok(status) => Some(status.root.clone()),
        // A supervisor above is down or hung; the events in memory explain it.
        Err(Unanswered::Down(_) | Unanswered::Gone) => None,
        Err(error) => return Err(error.into()),
    };
    let known = app.known()?.clone();
    let (permit, remembered) = app.remembered().await?;
    let read = permit.read(move || {
        let why = history::why(&known, &remembered, &path, now).map_err(|error| failed(&error))?;
        serde_json::to_string(&why).map_err(|error| failed(&error))
    });
    Ok(json(read.await??))
}

fn json(text: String) -> Response {
    ([(axum::http::header::CONTENT_TYPE, "application/json")], text).into_response()
}

#[derive(Deserialize)]
pub(super) struct Lines {
    lines: Option<u64>,
}

pub(super) async fn logs_root(
    app: State<Arc<App>>,
    viewer: Viewer,
    lines: Queried<Lines>,
) -> Result<Response, Refused> {
    logs(app, viewer, top(), lines).await
}

/// The last lines of output of the workers at and below a path, in the JSON of `treevisor logs --json`, as a list.
pub(super) async fn logs(
    State(app): State<Arc<App>>,
    _: Viewer,
    At(path): At<String>,
    lines: Queried<Lines>,
) -> Result<Response, Refused> {
    let (path, lines) = (path_of(&path)?, query(lines)?.lines.unwrap_or(LINES).min(LINES_MAX));
    let known = app.known()?.clone();
    if app.shared.lock().root() == Root::Gone {
        return Err(Unanswered::Gone.into());
    }
    let read = app.permit().await.read(move || read_lines(&mut Session::connect(&known.runtime)?, path, lines));
    let lines = read.await?.map_err(|error| Refused::from(Unanswered::from(error)))?;
    Ok(Json(lines).into_response())
}

fn read_lines(session: &mut Session, path: Path, count: u64) -> Result<Vec<LogView>, AskError> {
    let asked = LogsAsked { paths: vec![path], lines: Some(count), since_ms: None, follow: false };
    let mut lines: Vec<LogView> = Vec::new();
    session.logs(&asked, SILENCE, &mut |told| {
        lines.extend(told.lines);
        ControlFlow::Continue(())
    })?;
    // Each node sends its own last lines.
    let mut lines = in_order(by_worker(lines));
    let first = lines.len().saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
    lines.drain(..first);
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::sync::mpsc::channel;
    use std::task::{Context, Waker};

    #[test]
    fn a_task_that_reads_has_its_permit_for_as_long_as_it_runs() {
        let (_base, app) = App::in_test();
        let free = || app.readers.available_permits();
        let all = free();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let ((ends, end), (begins, begun)) = (channel::<()>(), channel());
            {
                let permit = app.permit().await;
                let mut reading = pin!(permit.read(move || {
                    begins.send(()).unwrap();
                    end.recv().unwrap();
                }));
                assert!(reading.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            // The client is gone, the task is not.
            begun.recv().unwrap();
            assert_eq!(free(), all - 1);
            ends.send(()).unwrap();
            while free() < all {
                tokio::task::yield_now().await;
            }
            assert_eq!(app.permit().await.read(|| 7).await.ok(), Some(7));
        });
        assert_eq!(free(), all);
    }
}
