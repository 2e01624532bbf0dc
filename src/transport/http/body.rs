//! Bodies: those of answers, which are whole or go on behind hyper, and those of requests, which are read within a time
//! and a budget.

use std::convert::Infallible;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::HttpServer;
use super::activity::PROGRESS_BYTES;
use super::refusals::RefusedRequest;
use super::requests::HttpConnection;
use crate::transport::metrics::RefusalReason;

/// The pieces in which hyper gets a long body. It asks for the next once the client has taken most of those before.
const PIECE_BYTES: usize = 16 * 1024;

/// An answer to a request.
pub type Answer = Response<Body>;

/// The body of an answer as hyper sees it.
#[derive(Debug)]
pub struct Body {
    bytes: Bytes,
    /// The connection goes on without hyper behind these bytes.
    goes_on: bool,
    /// The memory of a long body, which hyper gets in pieces, and is held until it has the last.
    memory: Option<OwnedSemaphorePermit>,
}

impl Body {
    /// A body that goes on.
    pub fn going_on(beginning: &'static str) -> Self {
        Self { bytes: Bytes::from_static(beginning.as_bytes()), goes_on: true, memory: None }
    }

    /// A long body, and its share of the memory of all such bodies.
    pub fn in_pieces(bytes: Vec<u8>, memory: OwnedSemaphorePermit) -> Self {
        Self { bytes: bytes.into(), goes_on: false, memory: Some(memory) }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self { bytes: bytes.into(), goes_on: false, memory: None }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.memory.is_some() && !self.bytes.is_empty() {
            let most = PIECE_BYTES.min(self.bytes.len());
            // Copied: what hyper has is not to keep the whole body.
            return Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&self.bytes.split_to(most))))));
        }
        match mem::take(&mut self.bytes) {
            bytes if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            _ if self.goes_on => Poll::Pending,
            _ => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && !self.goes_on
    }

    fn size_hint(&self) -> SizeHint {
        if self.goes_on { SizeHint::new() } else { SizeHint::with_exact(self.bytes.len() as u64) }
    }
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Answer {
    answer(status, Bytes::new())
}

/// An answer with a body of this media type.
pub fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = answer(status, body.into());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// The head of an answer that goes on, as clients and the proxies in front of them need it, and the beginning of its body.
pub fn stream(content_type: &'static str, body: Body) -> Answer {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "private, no-cache, no-store, must-revalidate, max-age=0"),
        // Behind the end of a stream nothing follows.
        (CONNECTION, "close"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let mut answer = Response::new(body);
    answer.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    answer
}

/// An answer of plain text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    typed(status, "text/plain; charset=utf-8", body)
}

fn answer(status: StatusCode, bytes: Bytes) -> Answer {
    let mut answer = Response::new(bytes.into());
    *answer.status_mut() = status;
    answer
}

impl HttpServer {
    /// Takes the body of a request, and its share of the budget of all bodies.
    ///
    /// # Errors
    /// The body is malformed or too long, or comes too slowly.
    pub(super) async fn take_body(
        &self,
        mut body: Incoming,
        bytes_max: usize,
        connection: &HttpConnection<'_>,
    ) -> Result<(Vec<u8>, OwnedSemaphorePermit), RefusedRequest> {
        let period = self.context.times.header_timeout;
        let (mut due, mut missing) = (Instant::now() + period, PROGRESS_BYTES);
        let mut taken = Vec::new();
        let mut budget = timeout_at(due, self.context.streams.reserve()).await.map_err(|_| too_slow())?;
        loop {
            let next = poll_fn(|context| Pin::new(&mut body).poll_frame(context));
            let Some(frame) = timeout_at(due, next).await.map_err(|_| too_slow())? else { break };
            let Ok(bytes) = frame.map_err(|_| malformed())?.into_data() else { continue };
            if taken.len() + bytes.len() > bytes_max {
                return Err(body_too_long(bytes_max));
            }
            let reserved = self.context.streams.reserve_more(&mut budget, bytes.len());
            timeout_at(due, reserved).await.map_err(|_| too_slow())?;
            taken.extend_from_slice(&bytes);
            match missing.checked_sub(bytes.len()) {
                Some(0) | None => (due, missing) = (Instant::now() + period, PROGRESS_BYTES),
                Some(less) => missing = less,
            }
        }
        connection.has_unread_body.set(false);
        Ok((taken, budget))
    }
}

/// The refusal of a body that is too long.
pub fn body_too_long(bytes_max: usize) -> RefusedRequest {
    too_long(format!("a body has at most {} KiB\n", bytes_max / 1024))
}

/// The refusal of a frame that is too long.
pub fn frame_too_long(bytes_max: usize) -> RefusedRequest {
    too_long(format!("a frame has at most {bytes_max} bytes: see message-bytes\n"))
}

fn too_long(text: String) -> RefusedRequest {
    RefusedRequest(RefusalReason::Body, StatusCode::PAYLOAD_TOO_LARGE, text.into())
}

fn too_slow() -> RefusedRequest {
    RefusedRequest(RefusalReason::Timeout, StatusCode::REQUEST_TIMEOUT, "the body has taken too long\n".into())
}

fn malformed() -> RefusedRequest {
    RefusedRequest(RefusalReason::Body, StatusCode::BAD_REQUEST, "the body is cut or malformed\n".into())
}
