//! The tables of metrics name what `GET /metrics` serves, every metric with its type and its labels: that in
//! `docs/operating.md` the metrics of a server that is alone, that in `docs/cluster.md` what a node has besides.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use roomcast::backplane::BackplaneMetrics;
use roomcast::metrics::Exposition;

/// Type and labels of each metric.
type Metrics = BTreeMap<String, (String, Vec<String>)>;

/// The built server, ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn served() -> Metrics {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.args(["--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0"]).stderr(Stdio::piped());
    let mut server = Server(command.spawn().expect("the server starts"));
    let log = BufReader::new(server.0.stderr.take().expect("its log"));
    let mut lines = log.lines().map(|line| line.expect("text"));
    let listening = lines.find(|line| line.contains("listening for http")).expect("it listens");
    let address = listening.rsplit("address=").next().expect("an address").to_owned();
    let mut stream = TcpStream::connect(address).expect("it accepts");
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    exposed(&text)
}

/// The metrics of a text of Prometheus.
fn exposed(text: &str) -> Metrics {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), (kind.to_owned(), labels(text, name)))).collect()
}

/// The labels of the first sample of a metric. The bounds of a histogram's buckets are not its own.
fn labels(text: &str, name: &str) -> Vec<String> {
    let sample = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('{')).unwrap_or_default();
    let (labels, _) = sample.split_once('}').unwrap_or_default();
    labels.split(',').filter_map(|label| label.split_once('=')).map(|(label, _)| label.to_owned()).collect()
}

/// The metrics in the table of a section.
fn documented(page: &str, heading: &str) -> Metrics {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("a page");
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("a section on metrics");
    let (section, _) = section.split_once("\n## ").unwrap_or((section, ""));
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(|cell| cell.replace('`', "").trim().to_owned());
        let (name, kind, labels) = (cells.next()?, cells.next()?, cells.next()?);
        let labels = labels.split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
        Some((name, (kind, labels)))
    };
    section.lines().filter_map(row).collect()
}

#[track_caller]
fn compare(served: &Metrics, page: &str, heading: &str) {
    let documented = documented(page, heading);
    for (name, found) in served {
        assert_eq!(documented.get(name), Some(found), "{name} in {page}");
    }
    let gone: Vec<&String> = documented.keys().filter(|name| !served.contains_key(*name)).collect();
    assert!(gone.is_empty(), "{page} has metrics that are not served: {gone:?}");
}

#[test]
fn the_table_of_metrics_is_what_the_server_serves() {
    compare(&served(), "docs/operating.md", "Metrics");
}

#[test]
fn the_table_of_a_cluster_is_what_a_node_serves_besides() {
    let mut exposition = Exposition::default();
    BackplaneMetrics::default().expose(&mut exposition);
    compare(&exposed(&exposition.into_text()), "docs/cluster.md", "Watch");
}
