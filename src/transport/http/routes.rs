//! The routes of the HTTP port: one table with the methods of each path, the origins of pages that it answers, and the
//! longest body that it takes. The dispatcher, the answer to OPTIONS, `Allow` and the statuses 404, 405 and 413 follow
//! from it.

use hyper::Method;

use crate::config::WebPages;

/// A body that no route asks for has at most this many bytes. It is not read.
const UNWANTED_BODY_BYTES_MAX: usize = 16 * 1024;

/// What stands in front of the name of a method of the server API.
pub const API_PATH: &str = "/api/";

/// The body of a request of the server API may be this much longer than the longest message, in bytes, since broadcasts and
/// batches are long.
const API_BODY_BYTES: usize = 1024 * 1024;

/// The body of a request with commands may be this many times the longest message, since JSON in JSON is escaped, and
/// have this many bytes more, for the names.
const EMULATION_FACTOR: usize = 2;
const EMULATION_BYTES: usize = 1024;

/// The methods of routes that are only read.
const READ: &str = "GET,HEAD,OPTIONS";

/// What is behind a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A file of the web pages, by its path.
    Page,
    /// The figures of the dashboard.
    Figures,
    Health,
    Ready,
    Metrics,
    /// The WebSocket handshake of text clients.
    TextWebSocket,
    /// The WebSocket handshake of clients of the Centrifuge protocol.
    CentrifugeWebSocket,
    HttpStream,
    Sse,
    /// Server-sent events for a client that sends nothing but its connect.
    UniSse,
    /// Commands of a client of a stream.
    Emulation,
    /// The list of rooms.
    Rooms,
    /// One room, by its name in the path.
    Room,
    /// The description of the server API.
    ApiDescription,
    /// A method of the server API, by its name in the path.
    Api,
    /// A path without a route, and the server as a whole (`*`, and `/` where it serves no pages). Only the options may be
    /// asked for: load balancers do that to see whether the server is up (HAProxy's `option httpchk`).
    Nowhere,
}

/// The web pages, of any server, that may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pages {
    /// Every page is answered, but only one whose origin may connect can read the answer.
    All,
    /// Pages whose origin may not connect are refused, since the route acts for the user of the browser.
    OfAllowedOrigins,
    /// The same, and a page of a host that is not the server's own is refused too where it reads with GET, since browsers
    /// then name no origin.
    OfOwnHosts,
}

/// The longest body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyMax {
    Bytes(usize),
    /// One frame.
    Frame,
    /// One frame as a string in JSON.
    EscapedFrame,
    /// A call of the server API.
    ApiCall,
}

/// What is the same for all requests of a route.
#[derive(Debug)]
pub struct RouteRule {
    /// A `*` at the end stands for one character or more.
    path: &'static str,
    pub route: Route,
    /// As `Allow` lists them.
    pub methods: &'static str,
    pages: Pages,
    body_max: BodyMax,
}

const fn rule(path: &'static str, route: Route, methods: &'static str, pages: Pages, body_max: BodyMax) -> RouteRule {
    RouteRule { path, route, methods, pages, body_max }
}

const NO_BODY: BodyMax = BodyMax::Bytes(UNWANTED_BODY_BYTES_MAX);

/// The first row that has the path is the one that holds.
static ROUTES: [RouteRule; 19] = [
    rule("/", Route::Page, READ, Pages::All, NO_BODY),
    rule("/dashboard", Route::Page, READ, Pages::All, NO_BODY),
    rule("/dashboard/stats", Route::Figures, READ, Pages::OfAllowedOrigins, NO_BODY),
    rule("/roomcast.js", Route::Page, READ, Pages::All, NO_BODY),
    rule("/pages/*", Route::Page, READ, Pages::All, NO_BODY),
    rule("/health", Route::Health, READ, Pages::All, NO_BODY),
    rule("/ready", Route::Ready, READ, Pages::All, NO_BODY),
    rule("/metrics", Route::Metrics, READ, Pages::All, NO_BODY),
    rule("/ws", Route::TextWebSocket, "GET,OPTIONS", Pages::OfAllowedOrigins, NO_BODY),
    rule("/ws/", Route::TextWebSocket, "GET,OPTIONS", Pages::OfAllowedOrigins, NO_BODY),
    rule("/connection/websocket", Route::CentrifugeWebSocket, "GET,OPTIONS", Pages::OfAllowedOrigins, NO_BODY),
    rule("/connection/http_stream", Route::HttpStream, "POST,OPTIONS", Pages::OfAllowedOrigins, BodyMax::Frame),
    rule("/connection/sse", Route::Sse, "GET,POST,OPTIONS", Pages::OfOwnHosts, BodyMax::Frame),
    rule("/connection/uni_sse", Route::UniSse, "GET,POST,OPTIONS", Pages::OfOwnHosts, BodyMax::Frame),
    rule("/emulation", Route::Emulation, "POST,OPTIONS", Pages::OfAllowedOrigins, BodyMax::EscapedFrame),
    rule("/rooms", Route::Rooms, READ, Pages::OfOwnHosts, NO_BODY),
    rule("/rooms/*", Route::Room, READ, Pages::OfOwnHosts, NO_BODY),
    rule("/api/openapi.json", Route::ApiDescription, READ, Pages::OfAllowedOrigins, NO_BODY),
    rule("/api/*", Route::Api, "POST,OPTIONS", Pages::OfAllowedOrigins, BodyMax::ApiCall),
];

/// Every other path.
static NOWHERE: RouteRule = rule("*", Route::Nowhere, READ, Pages::All, NO_BODY);

impl RouteRule {
    /// The rule of a path, with these web pages. Paths are compared byte by byte: none of them has a character that needs
    /// to be encoded.
    pub fn of(path: &str, pages: WebPages) -> &'static Self {
        let is_served = |rule: &&Self| pages != WebPages::Off || !matches!(rule.route, Route::Page | Route::Figures);
        ROUTES.iter().find(|rule| rule.has_path(path)).filter(is_served).unwrap_or(&NOWHERE)
    }

    fn has_path(&self, path: &str) -> bool {
        match self.path.strip_suffix('*') {
            Some(before) => path.strip_prefix(before).is_some_and(|rest| !rest.is_empty()),
            None => path == self.path,
        }
    }

    /// Whether the route has the method.
    pub fn has(&self, method: &Method) -> bool {
        self.methods.split(',').any(|has| has == method.as_str())
    }

    /// The headers of requests that answers depend on, for caches.
    pub fn vary(&self) -> &'static str {
        if self.route == Route::Page { "Accept-Encoding, Origin" } else { "Origin" }
    }

    /// Whether requests of pages whose origin may not connect are refused.
    pub fn refuses_other_pages(&self) -> bool {
        self.pages != Pages::All
    }

    /// Whether a page may read what the method answers without its browser naming an origin.
    pub fn is_read_by_pages(&self, method: &Method) -> bool {
        self.pages == Pages::OfOwnHosts && (method == Method::GET || method == Method::HEAD)
    }

    /// Bytes of the longest body, where a frame has `frame_bytes_max`.
    pub fn body_bytes_max(&self, frame_bytes_max: usize) -> usize {
        match self.body_max {
            BodyMax::Bytes(bytes) => bytes,
            BodyMax::Frame => frame_bytes_max,
            BodyMax::EscapedFrame => EMULATION_FACTOR * frame_bytes_max + EMULATION_BYTES,
            BodyMax::ApiCall => frame_bytes_max + API_BODY_BYTES,
        }
    }
}
