//! The check of a web page's origin, and the address of a client behind trusted proxies.

use hyper::header::{HeaderMap, HeaderValue};
use roomcast::config::{HostName, Origins};
use roomcast::net::proxy::TrustedProxies;
use roomcast::transport::http::Reached::{Directly, Forwarded, OverLoopback};
use roomcast::transport::http::{OriginRules, Reached, forwarded_for};

fn rules(origins: &[&str], hosts: &[&str]) -> OriginRules {
    let origins = Origins::SameHostAnd(origins.iter().map(|&origin| origin.to_owned()).collect());
    OriginRules {
        origins,
        hosts: hosts.iter().map(|host| HostName::parse(host).expect("a host")).collect(),
        is_tls: false,
    }
}

fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
    let value = |&(name, value): &(&'static str, &str)| {
        (name.parse().expect("a name"), HeaderValue::from_str(value).expect("a value"))
    };
    values.iter().map(value).collect()
}

/// Checks rows of a host, an origin, and whether a page of that origin may connect.
#[track_caller]
fn check(rules: &OriginRules, reached: Reached<'_>, rows: &[(&str, &str, bool)]) {
    for (host, origin, may_connect) in rows {
        let allowed = rules.allow(&headers(&[("host", host), ("origin", origin)]), reached);
        assert_eq!(allowed, *may_connect, "{origin} at {host}, {reached:?}");
    }
}

#[test]
fn a_page_of_the_same_host_may_connect_with_the_port_of_its_scheme_named_or_not() {
    check(
        &rules(&[], &[]),
        Directly,
        &[
            ("chat.example", "https://chat.example", true),
            ("Chat.Example:3000", "http://chat.example:3000", true),
            ("[2001:db8::1]:3000", "http://[2001:db8::1]:3000", true),
            ("chat.example", "https://evil.example", false),
            ("chat.example", "https://chat.example.evil.example", false),
            ("chat.example", "null", false),
            ("", "https://", false),
            ("chat.example:443", "https://chat.example", true),
            ("chat.example", "https://chat.example:443", true),
            ("chat.example:80", "http://chat.example", true),
            ("chat.example:80", "https://chat.example", false),
            ("chat.example:443", "http://chat.example", false),
            ("chat.example", "https://chat.example:444", false),
        ],
    );
}

#[test]
fn at_a_port_of_tls_only_a_page_that_came_over_https_is_of_the_same_host() {
    let tls = OriginRules { is_tls: true, ..rules(&["http://listed.example"], &[]) };
    let rows = |is_forwarded| {
        [
            ("chat.example", "https://chat.example", true),
            ("chat.example:8443", "https://chat.example:8443", true),
            ("chat.example", "http://chat.example", is_forwarded),
            ("chat.example:8443", "http://chat.example:8443", is_forwarded),
            ("chat.example", "http://listed.example", true),
        ]
    };
    check(&tls, Directly, &rows(false));
    // There the proxy knows how the page came.
    check(&tls, Forwarded(None), &rows(true));
}

#[test]
fn a_client_that_is_no_browser_may_connect_and_two_origins_are_no_browsers() {
    let one = [("host", "chat.example"), ("origin", "https://chat.example")];
    let two = [one[0], one[1], ("origin", "https://evil.example")];
    let found = [&one[..1], &one, &two].map(|values| rules(&[], &[]).allow(&headers(values), Directly));
    assert_eq!(found, [true, true, false]);
}

#[test]
fn a_listed_page_may_connect_and_with_a_star_every_page() {
    let listed = rules(&["https://app.example"], &[]);
    check(
        &listed,
        Directly,
        &[
            ("chat.example", "https://app.example", true),
            ("chat.example", "https://chat.example", true),
            ("chat.example", "http://app.example", false),
        ],
    );
    check(&listed, OverLoopback, &[("chat.example", "https://app.example", true)]);
    let any = OriginRules { origins: Origins::Any, hosts: Vec::new(), is_tls: false };
    check(&any, OverLoopback, &[("chat.example", "null", true)]);
}

#[test]
fn over_loopback_only_loopback_names_are_the_same_host() {
    check(
        &rules(&[], &[]),
        OverLoopback,
        &[
            ("localhost:3000", "http://localhost:3000", true),
            ("Chat.LocalHost:3000", "http://chat.localhost:3000", true),
            ("127.0.0.1:3000", "http://127.0.0.1:3000", true),
            ("127.9.9.9", "http://127.9.9.9", true),
            ("[::1]:3000", "http://[::1]:3000", true),
            ("evil.example:3000", "http://evil.example:3000", false),
            ("localhost.evil.example:3000", "http://localhost.evil.example:3000", false),
            ("notlocalhost:3000", "http://notlocalhost:3000", false),
            ("10.0.0.1:3000", "http://10.0.0.1:3000", false),
        ],
    );
}

#[test]
fn only_configured_hosts_are_the_same_host_if_any_are_configured() {
    for reached in [Directly, OverLoopback, Forwarded(None)] {
        check(
            &rules(&[], &["chat.example", "b.example:8443"]),
            reached,
            &[
                ("chat.example", "https://chat.example", true),
                ("chat.example:3000", "http://chat.example:3000", true),
                ("b.example:8443", "https://b.example:8443", true),
                ("b.example", "https://b.example", false),
                ("localhost:3000", "http://localhost:3000", false),
                ("evil.example", "https://chat.example", false),
            ],
        );
    }
}

#[test]
fn a_trusted_proxy_forwards_the_host_and_may_leave_out_the_port() {
    let rules = rules(&[], &[]);
    for (host, origin, may_connect) in [
        ("chat.example", "https://chat.example", true),
        ("chat.example", "https://chat.example:8443", true),
        ("chat.example:443", "https://chat.example:8443", false),
        ("chat.example", "https://backend", false),
        ("localhost", "http://localhost:9999", false), // Another program serves this page.
    ] {
        check(&rules, Forwarded(Some(host)), &[("backend", origin, may_connect)]);
    }
    check(&rules, Forwarded(None), &[("backend", "https://backend:8443", true)]);
    check(&rules, Directly, &[("backend", "https://backend:8443", false)]);
    let at_port = |port| [("host", "a.example"), ("origin", port), ("x-forwarded-port", "8443")];
    assert!(!rules.allow(&headers(&at_port("https://a.example:9999")), Forwarded(None)));
    let same = headers(&at_port("https://a.example:8443"));
    assert!(rules.allow(&same, Forwarded(None)) && !rules.allow(&same, Directly));
}

#[test]
fn a_request_is_forwarded_for_the_last_address_that_is_no_trusted_proxy() {
    let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap());
    let proxies = TrustedProxies::new(&networks, false);
    let rows: [(&str, &[&str], &str); 7] = [
        ("10.0.0.1", &["192.0.2.7"], "192.0.2.7"),
        ("::ffff:10.0.0.1", &["192.0.2.7:4711"], "192.0.2.7"),
        ("10.0.0.1", &["203.0.113.9, 192.0.2.7 , 10.0.0.2"], "192.0.2.7"), // The first is the client's own claim.
        ("10.0.0.1", &["192.0.2.7", "2001:db8::1"], "192.0.2.7"),
        ("192.0.2.1", &["192.0.2.7"], "192.0.2.1"), // The peer is no trusted proxy.
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &["192.0.2.7, me"], "10.0.0.1"),
    ];
    for (peer, lists, client) in rows {
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append("x-forwarded-for", HeaderValue::from_str(list).unwrap());
        }
        let found = forwarded_for(&proxies, peer.parse().unwrap(), &headers);
        assert_eq!(found.to_string(), client, "{peer} for {lists:?}");
    }
}
