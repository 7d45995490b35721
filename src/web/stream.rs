//! The event stream of a page, as the body of an answer.

use super::shared::{Shared, now_ms};
use axum::body::Bytes;
use http_body::{Body, Frame};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The media type of an event stream.
pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// The stream of one page; dropping it closes the page.
pub(super) struct Stream {
    id: String,
    shared: Arc<Shared>,
}

impl Stream {
    /// The stream of the open page with this id.
    pub(super) fn of(id: String, shared: Arc<Shared>) -> Stream {
        Stream { id, shared }
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.shared.lock().next_frame(&self.id, context.waker(), now_ms());
        next.map(|frame| frame.map(|frame| Ok(Frame::data(frame))))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.lock().close(&self.id, now_ms());
    }
}
