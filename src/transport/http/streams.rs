//! The requests of clients without WebSocket: those that open a stream, and those that carry commands of one. hyper sends
//! the head of a stream's answer, and the connection goes on without hyper.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::http::{Method, Request, Response, StatusCode, Version};
use axum::response::IntoResponse;
use hyper::body::{Frame as BodyFrame, Incoming};
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::HttpServer;
use super::bearer::verified;
use super::cors::Cors;
use super::refusals::{RefusedRequest, RequestSummary};
use super::requests::{Admitted, HttpConnection, check};
use crate::protocol::centrifuge::emulation::{BinaryEmulationRequest, EmulationRequest};
use crate::protocol::dialect::Dialect;
use crate::session::centrifuge::StreamName;
use crate::transport::emulation::{Frame, NotExecuted};
use crate::transport::metrics::RefusalReason;

/// The parameter of the query that holds the first frame of an event stream.
const FIRST_FRAME: &str = "cf_connect=";

/// The content type of Protobuf; every other one is taken for JSON.
const PROTOBUF: &str = "application/octet-stream";

/// The body of a request with commands may be this many times the longest message, since JSON in JSON is escaped, and
/// have this many bytes more, for the names.
const EMULATION_FACTOR: usize = 2;
const EMULATION_BYTES: usize = 1024;

/// A path of clients without WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamPath {
    HttpStream,
    Sse,
    /// Server-sent events for a client that sends nothing but its connect.
    UniSse,
    /// Commands of a stream.
    Emulation,
}

impl StreamPath {
    /// `None` for paths of others.
    pub fn of(path: &str) -> Option<Self> {
        match path {
            "/connection/http_stream" => Some(Self::HttpStream),
            "/connection/sse" => Some(Self::Sse),
            "/connection/uni_sse" => Some(Self::UniSse),
            "/emulation" => Some(Self::Emulation),
            _ => None,
        }
    }

    fn methods(self) -> &'static str {
        match self {
            Self::HttpStream | Self::Emulation => "POST,OPTIONS",
            Self::Sse | Self::UniSse => "GET,POST,OPTIONS",
        }
    }

    fn has(self, method: &Method) -> bool {
        self.methods().split(',').any(|has| has == method.as_str())
    }

    fn dialect(self, headers: &HeaderMap) -> Dialect {
        match self {
            Self::Sse => Dialect::JsonEvents,
            Self::UniSse => Dialect::PushEvents,
            _ if is_protobuf(headers) => Dialect::ProtobufStream,
            _ => Dialect::JsonStream,
        }
    }
}

impl HttpServer {
    /// Answers a request at one of these paths, so that pages which may connect can read the answer.
    pub(super) async fn answer_at(
        &self,
        path: StreamPath,
        request: Request<Incoming>,
        connection: &HttpConnection,
        summary: &RequestSummary,
    ) -> Response<Body> {
        if let Err(refused) = self.check_origin(request.headers(), connection) {
            return self.refuse(refused, summary);
        }
        let cors = Cors::of(&request, path.methods());
        let answered = self.execute_at(path, request, connection).await;
        let mut response = answered.unwrap_or_else(|refused| self.refuse(refused, summary));
        if response.headers().contains_key(ALLOW) {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(path.methods()));
        }
        cors.allow(&mut response);
        response
    }

    async fn execute_at(
        &self,
        path: StreamPath,
        request: Request<Incoming>,
        connection: &HttpConnection,
    ) -> Result<Response<Body>, RefusedRequest> {
        let frame_bytes_max = self.context.streams.frame_bytes_max;
        let body_bytes_max = match path {
            StreamPath::Emulation => EMULATION_FACTOR * frame_bytes_max + EMULATION_BYTES,
            _ => frame_bytes_max,
        };
        check(&request, body_bytes_max)?;
        if request.method() == Method::OPTIONS {
            return Ok((StatusCode::NO_CONTENT, [(ALLOW, path.methods())]).into_response());
        }
        if !path.has(request.method()) {
            let text = format!("this path has the methods {}\n", path.methods());
            return Err(RefusedRequest(RefusalReason::Method, StatusCode::METHOD_NOT_ALLOWED, text.into()));
        }
        match path {
            StreamPath::Emulation => self.emulate(request, body_bytes_max).await,
            _ => self.open_stream(path, request, connection).await,
        }
    }

    /// Lets a client in whose answer goes on. Nothing is awaited once it is admitted.
    async fn open_stream(
        &self,
        path: StreamPath,
        request: Request<Incoming>,
        connection: &HttpConnection,
    ) -> Result<Response<Body>, RefusedRequest> {
        self.check_open(connection)?;
        if request.version() != Version::HTTP_11 {
            return Err(bad(RefusalReason::HttpVersion, "a stream is HTTP/1.1\n"));
        }
        let (address, permit) = self.admit(request.headers(), connection)?;
        let token = verified(&self.context, &request)?;
        let dialect = path.dialect(request.headers());
        let first_frame = self.first_frame(path, request).await?;
        let (content_type, beginning) = match dialect {
            Dialect::JsonStream => ("application/json", None),
            Dialect::ProtobufStream => (PROTOBUF, None),
            // Some proxies send the head with the first bytes of the body.
            _ => ("text/event-stream", Some(Bytes::from_static(b"\r\n"))),
        };
        let headers = [
            (CONTENT_TYPE, content_type),
            (CACHE_CONTROL, "private, no-cache, no-store, must-revalidate, max-age=0"),
            // Behind the end of a stream nothing follows.
            (CONNECTION, "close"),
        ];
        let response = (headers, [("x-accel-buffering", "no")], Body::new(Endless(beginning))).into_response();
        connection.goes_on.set(true);
        connection.admitted.set(Some(Admitted { address, permit, token, dialect, first_frame }));
        Ok(response)
    }

    /// The frame with which a client opens its stream.
    async fn first_frame(&self, path: StreamPath, request: Request<Incoming>) -> Result<Vec<u8>, RefusedRequest> {
        let frame_bytes_max = self.context.streams.frame_bytes_max;
        let frame = if request.method() == Method::GET {
            let query = request.uri().query().unwrap_or_default();
            let frame = query.split('&').find_map(|parameter| parameter.strip_prefix(FIRST_FRAME)).map(decoded);
            let frame = frame.unwrap_or_default();
            if frame.len() > frame_bytes_max {
                return Err(too_long(frame_bytes_max));
            }
            frame
        } else {
            self.take_body(request.into_body(), frame_bytes_max).await?.0
        };
        match path {
            StreamPath::UniSse => connect_command(&frame)
                .ok_or_else(|| bad(RefusalReason::Body, "cf_connect is a connect request, as in {\"token\":\"…\"}\n")),
            StreamPath::Sse if frame.is_empty() => {
                Err(bad(RefusalReason::Body, "cf_connect is a frame with a connect command, percent-encoded\n"))
            }
            _ if frame.is_empty() => Err(bad(RefusalReason::Body, "the body is a frame with a connect command\n")),
            _ => Ok(frame),
        }
    }

    /// Has the stream that is named execute the commands.
    async fn emulate(
        &self,
        request: Request<Incoming>,
        body_bytes_max: usize,
    ) -> Result<Response<Body>, RefusedRequest> {
        let is_protobuf = is_protobuf(request.headers());
        let (body, budget) = self.take_body(request.into_body(), body_bytes_max).await?;
        let malformed =
            || bad(RefusalReason::Body, "the body is {\"session\":\"…\",\"node\":\"…\",\"data\":\"<frame>\"}\n");
        let (name, bytes) = if is_protobuf {
            let request = BinaryEmulationRequest::parse(&body).ok_or_else(malformed)?;
            (StreamName::parse(&request.session, &request.node), request.frame)
        } else {
            let request = EmulationRequest::parse(&body).ok_or_else(malformed)?;
            (StreamName::parse(&request.session, &request.node), request.frame.into_owned().into())
        };
        drop(body);
        if bytes.len() > self.context.streams.frame_bytes_max {
            return Err(too_long(self.context.streams.frame_bytes_max));
        }
        let executed = match name {
            Some(name) => self.context.streams.execute(&name, Frame { bytes, budget }).await,
            None => Err(NotExecuted::Gone),
        };
        match executed {
            Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
            Err(NotExecuted::Gone) if self.context.drain.is_stopping() => Err(RefusedRequest::draining()),
            Err(NotExecuted::Gone) => {
                let text = "there is no such session on this node: connect again\n";
                Err(RefusedRequest(RefusalReason::Session, StatusCode::NOT_FOUND, text.into()))
            }
            Err(NotExecuted::Busy) => {
                let text = "the session has other work: connect again\n";
                Err(RefusedRequest(RefusalReason::Timeout, StatusCode::SERVICE_UNAVAILABLE, text.into()))
            }
        }
    }

    /// Takes a body, within the time for the head of a request, and its share of the budget of all bodies.
    async fn take_body(
        &self,
        mut body: Incoming,
        bytes_max: usize,
    ) -> Result<(Vec<u8>, OwnedSemaphorePermit), RefusedRequest> {
        let taken = timeout(self.context.header_timeout, async {
            let budget =
                self.context.streams.reserve(body.size_hint().exact().map_or(bytes_max, |bytes| bytes as usize));
            let budget = budget.await;
            let mut taken = Vec::new();
            while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                let frame = frame.map_err(|_| bad(RefusalReason::Body, "the body is cut or malformed\n"))?;
                let Ok(bytes) = frame.into_data() else { continue };
                if taken.len() + bytes.len() > bytes_max {
                    return Err(too_long(bytes_max));
                }
                taken.extend_from_slice(&bytes);
            }
            Ok((taken, budget))
        });
        taken.await.unwrap_or_else(|_| {
            let text = "the body has taken too long\n";
            Err(RefusedRequest(RefusalReason::Timeout, StatusCode::REQUEST_TIMEOUT, text.into()))
        })
    }
}

/// The body of a stream as hyper sees it: perhaps a beginning, and no end.
struct Endless(Option<Bytes>);

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(beginning) => Poll::Ready(Some(Ok(BodyFrame::data(beginning)))),
            None => Poll::Pending,
        }
    }
}

fn bad(reason: RefusalReason, text: &'static str) -> RefusedRequest {
    RefusedRequest(reason, StatusCode::BAD_REQUEST, text.into())
}

fn too_long(bytes_max: usize) -> RefusedRequest {
    let text = format!("a frame has at most {bytes_max} bytes: see message-bytes\n");
    RefusedRequest(RefusalReason::Body, StatusCode::PAYLOAD_TOO_LARGE, text.into())
}

fn is_protobuf(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|content_type| content_type.as_bytes() == PROTOBUF.as_bytes())
}

/// The value of a parameter of a query.
fn decoded(value: &str) -> Vec<u8> {
    let spaced = if value.contains('+') { Cow::Owned(value.replace('+', " ")) } else { Cow::Borrowed(value) };
    percent_decode_str(&spaced).collect()
}

/// The command of a connect request that stands alone; an empty one asks for nothing. `None` if it is no JSON object.
fn connect_command(request: &[u8]) -> Option<Vec<u8>> {
    let request = if request.is_empty() { b"{}" } else { request };
    let request: &RawValue = serde_json::from_slice(request).ok()?;
    // A frame has one command on each line, and a line end within JSON is always a blank.
    let object = request.get().replace(['\n', '\r'], " ");
    object.starts_with('{').then(|| format!("{{\"id\":1,\"connect\":{object}}}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_request_becomes_a_command_on_one_line() {
        let command =
            |request: &str| connect_command(request.as_bytes()).map(|command| String::from_utf8(command).unwrap());
        assert_eq!(command("").unwrap(), r#"{"id":1,"connect":{}}"#);
        assert_eq!(command(" {\"token\":\n\"a\\nb\"}\r\n").unwrap(), r#"{"id":1,"connect":{"token": "a\nb"}}"#);
        for wrong in ["[]", "null", "{}{}", "{},\"send\":{}", "{\"a\":\"\n\"}", "{", "\u{feff}{}"] {
            assert_eq!(command(wrong), None, "{wrong}");
        }
        assert_eq!(connect_command(b"{\"a\":\"\xff\"}"), None);
    }

    #[test]
    fn a_parameter_is_decoded_as_browsers_and_forms_encode_it() {
        assert_eq!(decoded("%7B%22a%22:+1%7d"), b"{\"a\": 1}");
        assert_eq!(decoded("%2B%C3%A4%zz%"), "+ä%zz%".as_bytes());
    }
}
