//! The files of `deploy/` for Prometheus and Grafana: each alert has a row in the section of `docs/monitoring.md` that its
//! runbook names, and the dashboard is one that Grafana takes. `tests/metrics/run` evaluates both in a real Prometheus.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

/// The columns of a dashboard.
const COLUMNS: u64 = 24;

/// Severity and section of each alert.
type Alerts = BTreeMap<String, (String, String)>;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

/// The alerts of the rules, which are read as plain text.
fn alerts() -> Alerts {
    let rules = read("deploy/prometheus/roomcast.rules.yml");
    let alerts = rules.split("- alert: ").skip(1).map(|rule| {
        let field = |name: &str| {
            let (_, rest) = rule.split_once(name).unwrap_or_else(|| panic!("{name} of {rule}"));
            rest.lines().next().expect("a line").trim_end_matches(" }").to_owned()
        };
        let name = rule.lines().next().expect("a name").to_owned();
        (name, (field("severity: "), field("runbook_url: docs/monitoring.md#")))
    });
    alerts.collect()
}

/// The alerts of the tables in `docs/monitoring.md`.
fn documented_alerts() -> Alerts {
    let page = read("docs/monitoring.md");
    let sections = page.split("\n#").skip(1).map(|section| section.split_once('\n').expect("a heading"));
    let rows = sections.flat_map(|(heading, text)| {
        let anchor = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        text.lines().filter_map(move |line| {
            let mut cells = line.strip_prefix("| `Roomcast")?.split('|').map(str::trim);
            let name = format!("Roomcast{}", cells.next()?.trim_end_matches('`'));
            Some((name, (cells.next()?.to_owned(), anchor.clone())))
        })
    });
    rows.collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/roomcast.json")).expect("JSON")
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The panels that show something: no headings of rows.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    array(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row")
}

/// The cells of the grid that a panel takes, as columns and rows.
fn cells(panel: &Value) -> impl Iterator<Item = (u64, u64)> {
    let [x, y, width, height] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a number"));
    (x..x + width).flat_map(move |column| (y..y + height).map(move |row| (column, row)))
}

/// All values of a field, at whatever depth.
fn all<'a>(value: &'a Value, field: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(field));
            fields.values().for_each(|value| all(value, field, found));
        }
        Value::Array(values) => values.iter().for_each(|value| all(value, field, found)),
        _ => {}
    }
}

#[test]
fn every_alert_has_its_row_in_the_section_that_its_runbook_names() {
    let alerts = alerts();
    assert!(alerts.len() > 30, "{alerts:?}");
    assert_eq!(alerts, documented_alerts());
}

#[test]
fn every_alert_is_in_a_unit_test_that_expects_it() {
    let tests = read("deploy/prometheus/roomcast.rules.test.yml");
    let expects = |alert: &str| {
        [format!("alertname=\"{alert}\""), format!("alertname: {alert}\n")].iter().any(|at| tests.contains(at))
    };
    let untested: Vec<String> = alerts().into_keys().filter(|alert| !expects(alert)).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

#[test]
fn no_two_panels_of_the_dashboard_share_an_id_or_a_place() {
    let dashboard = dashboard();
    let (mut ids, mut taken) = (HashSet::new(), HashSet::new());
    for panel in array(&dashboard["panels"]) {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{title}");
        for (column, row) in cells(panel) {
            assert!(column < COLUMNS && taken.insert((column, row)), "{title} at {column}, {row}");
        }
    }
    assert!(ids.len() > 40, "{} panels", ids.len());
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_by_which_expressions() {
    for panel in panels(&dashboard()) {
        let title = panel["title"].as_str().expect("a title");
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}");
        let targets = array(&panel["targets"]);
        let names: BTreeSet<&str> = targets.iter().filter_map(|target| target["refId"].as_str()).collect();
        assert!(!targets.is_empty() && names.len() == targets.len(), "{title}: {names:?}");
    }
}

#[test]
fn everything_on_the_dashboard_is_of_the_chosen_prometheus_job_and_servers() {
    let dashboard = dashboard();
    let (mut sources, mut expressions) = (Vec::new(), Vec::new());
    all(&dashboard, "datasource", &mut sources);
    all(&dashboard, "expr", &mut expressions);
    assert!(sources.iter().all(|source| source["uid"] == "${datasource}"), "{sources:?}");
    // Each expression has one, each panel, and the variables of jobs and servers.
    assert_eq!(sources.len(), expressions.len() + panels(&dashboard).count() + 2);
    for expression in expressions {
        let expression = expression.as_str().expect("text");
        let selectors = expression.matches('{').count();
        let chosen = expression.matches("job=~\"$job\", instance=~\"$instance\"").count();
        assert!(selectors > 0 && selectors == chosen, "{expression}");
    }
    let variables: Vec<&str> =
        array(&dashboard["templating"]["list"]).iter().filter_map(|variable| variable["name"].as_str()).collect();
    assert_eq!(variables, ["datasource", "job", "instance"]);
}
