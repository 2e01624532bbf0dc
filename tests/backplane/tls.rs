//! Nodes and NATS prove to each other who they are.

use harness::{CertificateFiles, Forwarder, Identity, NatsOptions, NatsServer};
use roomcast::config::{ClusterRules, NatsServer as Url};
use tempfile::TempDir;

use super::common::{Node, rules};

/// A server that asks for TLS and for a certificate, behind an address for which its own is valid.
fn start() -> Option<(NatsServer, Forwarder, CertificateFiles, TempDir)> {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Identity::of_this_host().write(folder.path());
    let CertificateFiles { ca, certificate, key } = &files;
    // Others than nodes, as the harness, are let in without.
    let tls = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {ca:?}, verify: true }}");
    let further = format!("{tls}\nallow_non_tls: true\n");
    let nats = NatsServer::start_with(NatsOptions { further, ..Default::default() })?;
    let forwarder = Forwarder::start(nats.address);
    Some((nats, forwarder, files, folder))
}

fn tls_rules(forwarder: &Forwarder) -> ClusterRules {
    let url = Url(format!("tls://{}", forwarder.address));
    ClusterRules { servers: vec![url], ..rules("nats://unused:1") }
}

#[tokio::test]
async fn a_node_and_nats_speak_tls_by_their_certificates() {
    let Some((_nats, forwarder, files, _folder)) = start() else { return };
    let certificate = Some((files.certificate, files.key));
    let rules = ClusterRules { authorities: Some(files.ca), certificate, ..tls_rules(&forwarder) };
    let mut node = Node::try_start(rules, 1).await.unwrap();
    node.propose(1, "sealed");
    assert_eq!(node.placed().await.proposal, Some(1));
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_refused() {
    let Some(nats) = NatsServer::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let authorities = Some(Identity::of_this_host().write(folder.path()).ca);
    let url = format!("tls://{}", nats.address);
    let rules = ClusterRules { servers: vec![Url(url.clone())], authorities, ..rules("nats://unused:1") };
    let error = Node::try_start(rules, 1).await.err().unwrap().to_string();
    assert!(error.starts_with(&format!("NATS at {url} speaks no TLS: ")), "{error}");
}

#[tokio::test]
async fn a_server_that_proves_nothing_is_refused() {
    let Some((_nats, forwarder, files, _folder)) = start() else { return };
    let other = tempfile::tempdir().expect("a folder");
    let authorities = Some(Identity::self_signed(&["localhost"]).write(other.path()).ca);
    let certificate = Some((files.certificate, files.key));
    let rules = ClusterRules { authorities, certificate, ..tls_rules(&forwarder) };
    let error = Node::try_start(rules, 1).await.err().unwrap().to_string();
    assert!(error.starts_with("TLS to NATS: ") && error.contains("invalid peer certificate"), "{error}");
}
