//! Which web pages may open a WebSocket. A browser sends its user's cookies and network position along with any page's
//! handshake, and says whose page it is; other clients say nothing, or what they like. Knows headers, no socket.

use axum::http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};

use crate::config::Origins;

/// Whether the page that asks may: there is none, it is of the host that was asked, or it is listed.
pub fn is_allowed(headers: &HeaderMap, origins: &Origins) -> bool {
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    headers.get_all(ORIGIN).iter().map(HeaderValue::as_bytes).all(|origin| match origins {
        Origins::Any => true,
        Origins::SameHostAnd(listed) => {
            let is_listed = listed.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(origin));
            is_listed || host.is_some_and(|host| is_of_host(origin, host))
        }
    })
}

/// Browsers leave out a scheme's own port in both.
fn is_of_host(origin: &[u8], host: &[u8]) -> bool {
    let schemes = [&b"http://"[..], b"https://"];
    schemes.into_iter().filter_map(|scheme| origin.strip_prefix(scheme)).any(|origin| origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origins: &Origins, host: &'static str, origin: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static(host));
        headers.extend(origin.iter().map(|origin| (ORIGIN, HeaderValue::from_static(origin))));
        is_allowed(&headers, origins)
    }

    #[test]
    fn a_page_of_the_same_host_and_a_client_that_is_no_browser_may() {
        let same = |host, origin: &[&'static str]| allowed(&Origins::SameHostAnd(Vec::new()), host, origin);
        assert!(same("chat.example", &[]));
        assert!(same("chat.example", &["https://chat.example"]));
        assert!(same("Chat.Example:3000", &["http://chat.example:3000"]));
        for other in ["https://evil.example", "https://chat.example.evil.example", "https://chat.example:444", "null"] {
            assert!(!same("chat.example", &[other]), "{other}");
        }
        assert!(!same("chat.example", &["https://chat.example", "https://evil.example"]), "two are no browser's");
    }

    #[test]
    fn a_listed_page_may_and_with_a_star_every_page() {
        let listed = Origins::SameHostAnd(vec!["https://app.example".into()]);
        assert!(allowed(&listed, "chat.example", &["https://app.example"]));
        assert!(allowed(&listed, "chat.example", &["https://chat.example"]));
        assert!(!allowed(&listed, "chat.example", &["http://app.example"]));
        assert!(allowed(&Origins::Any, "chat.example", &["null"]));
    }
}
