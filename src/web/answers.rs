//! HTTP answers that consist of a status and a sentence, and the conversion of errors into them.

use super::ask::Unanswered;
use crate::error::Chain;
use crate::ids::Path;
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::io;

/// A refusal, or any other answer that is a status and a sentence.
#[derive(Debug)]
pub(super) struct Refused(StatusCode, String);

impl Refused {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Refused {
        Refused(status, text.into())
    }

    /// The answer as plain text.
    pub(super) fn in_words(self) -> Response {
        (self.0, format!("{}\n", self.1)).into_response()
    }

    /// 503: the requested information is not available now.
    pub(super) fn unavailable(text: impl Into<String>) -> Refused {
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<Unanswered> for Refused {
    fn from(unanswered: Unanswered) -> Refused {
        match unanswered {
            Unanswered::Gone => Refused::unavailable("the instance does not run"),
            Unanswered::Silent(text) | Unanswered::Down(text) => Refused::unavailable(text),
            Unanswered::NoPath(text) => Refused::new(StatusCode::NOT_FOUND, text),
        }
    }
}

/// 500: the console itself could not read or write something.
pub(super) fn failed(error: &dyn std::error::Error) -> Refused {
    Refused::new(StatusCode::INTERNAL_SERVER_ERROR, Chain(error).to_string())
}

/// The result of a blocking task.
pub(super) fn done<T>(result: Result<T, tokio::task::JoinError>) -> Result<T, Refused> {
    result.map_err(|error| failed(&io::Error::other(error)))
}

/// The JSON body of a request.
pub(super) fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Refused> {
    body.map(|Json(body)| body).map_err(|error| Refused::new(error.status(), error.body_text()))
}

/// A path of the tree, out of a URL.
pub(super) fn path_of(text: &str) -> Result<Path, Refused> {
    let path = format!("/{}", text.trim_matches('/'));
    Path::parse(&path).map_err(|error| Refused::new(StatusCode::NOT_FOUND, error.to_string()))
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    (status, Body::empty()).into_response()
}
