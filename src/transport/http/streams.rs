//! The requests of clients without WebSocket: those that open a stream, and those that carry commands of one. hyper sends
//! the head of a stream's answer, and the connection goes on without hyper.

use std::borrow::Cow;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, StatusCode, Version};
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;

use super::bearer::verified;
use super::body::{Answer, Body, empty, frame_too_long, stream};
use super::refusals::RefusedRequest;
use super::requests::{Admitted, HttpConnection};
use super::routes::Route;
use super::{HttpServer, Upgrade};
use crate::protocol::centrifuge::emulation::{BinaryEmulationRequest, EmulationRequest};
use crate::protocol::dialect::Dialect;
use crate::session::centrifuge::StreamName;
use crate::transport::emulation::{Frame, NotExecuted};
use crate::transport::metrics::RefusalReason;

/// The parameter of the query that holds the first frame of an event stream.
const FIRST_FRAME: &str = "cf_connect=";

/// The content type of Protobuf; every other one is taken for JSON.
const PROTOBUF: &str = "application/octet-stream";

impl HttpServer {
    /// Lets a client in whose answer goes on. Nothing is awaited once it is admitted.
    pub(super) async fn open_stream(
        &self,
        route: Route,
        request: Request<Incoming>,
        connection: &HttpConnection<'_>,
    ) -> Result<Answer, RefusedRequest> {
        self.check_open(connection)?;
        if request.version() != Version::HTTP_11 {
            return Err(RefusedRequest::bad(RefusalReason::HttpVersion, "a stream is HTTP/1.1\n"));
        }
        let (address, permit) = self.admit(request.headers(), connection)?;
        let token = verified(&self.context, &request)?;
        let dialect = stream_dialect(route, request.headers());
        let first_frame = self.first_frame(route, request, connection).await?;
        let (content_type, beginning) = match dialect {
            Dialect::JsonStream => ("application/json", ""),
            Dialect::ProtobufStream => (PROTOBUF, ""),
            // Some proxies send the head with the first bytes of the body.
            _ => ("text/event-stream", "\r\n"),
        };
        let upgrade = Upgrade::Client(dialect);
        connection.goes_on.set(true);
        connection.admitted.set(Some(Admitted { address, permit, token, upgrade, first_frame }));
        Ok(stream(content_type, Body::going_on(beginning)))
    }

    /// The frame with which a client opens its stream.
    async fn first_frame(
        &self,
        route: Route,
        request: Request<Incoming>,
        connection: &HttpConnection<'_>,
    ) -> Result<Vec<u8>, RefusedRequest> {
        let frame_bytes_max = self.context.streams.frame_bytes_max;
        let frame = if request.method() == Method::GET {
            let query = request.uri().query().unwrap_or_default();
            let frame = query.split('&').find_map(|parameter| parameter.strip_prefix(FIRST_FRAME)).map(decoded);
            let frame = frame.unwrap_or_default();
            if frame.len() > frame_bytes_max {
                return Err(frame_too_long(frame_bytes_max));
            }
            frame
        } else {
            self.take_body(request.into_body(), frame_bytes_max, connection).await?.0
        };
        match route {
            Route::UniSse => {
                connect_command(&frame).ok_or_else(|| bad("cf_connect is a connect request, as in {\"token\":\"…\"}\n"))
            }
            Route::Sse if frame.is_empty() => {
                Err(bad("cf_connect is a frame with a connect command, percent-encoded\n"))
            }
            _ if frame.is_empty() => Err(bad("the body is a frame with a connect command\n")),
            _ => Ok(frame),
        }
    }

    /// Has the stream that is named execute the commands.
    pub(super) async fn emulate(
        &self,
        request: Request<Incoming>,
        body_bytes_max: usize,
        connection: &HttpConnection<'_>,
    ) -> Result<Answer, RefusedRequest> {
        let is_protobuf = is_protobuf(request.headers());
        let (body, budget) = self.take_body(request.into_body(), body_bytes_max, connection).await?;
        let malformed = || bad("the body is {\"session\":\"…\",\"node\":\"…\",\"data\":\"<frame>\"}\n");
        let (name, bytes) = if is_protobuf {
            let request = BinaryEmulationRequest::parse(&body).ok_or_else(malformed)?;
            (StreamName::parse(&request.session, &request.node), request.frame)
        } else {
            let request = EmulationRequest::parse(&body).ok_or_else(malformed)?;
            (StreamName::parse(&request.session, &request.node), request.frame.into_owned().into())
        };
        drop(body);
        if bytes.len() > self.context.streams.frame_bytes_max {
            return Err(frame_too_long(self.context.streams.frame_bytes_max));
        }
        let executed = match name {
            Some(name) => self.context.streams.execute(&name, Frame { bytes, budget }).await,
            None => Err(NotExecuted::Gone),
        };
        match executed {
            Ok(()) => Ok(empty(StatusCode::NO_CONTENT)),
            Err(NotExecuted::Gone) if self.context.drain.is_turning_away() => Err(RefusedRequest::draining()),
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
}

fn bad(text: &'static str) -> RefusedRequest {
    RefusedRequest::bad(RefusalReason::Body, text)
}

fn stream_dialect(route: Route, headers: &HeaderMap) -> Dialect {
    match route {
        Route::Sse => Dialect::JsonEvents,
        Route::UniSse => Dialect::PushEvents,
        _ if is_protobuf(headers) => Dialect::ProtobufStream,
        _ => Dialect::JsonStream,
    }
}

fn is_protobuf(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|content_type| content_type.as_bytes() == PROTOBUF.as_bytes())
}

/// The value of a parameter of a query.
pub fn decoded(value: &str) -> Vec<u8> {
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
