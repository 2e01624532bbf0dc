//! Members of all transports on two and three nodes.

use crate::listener::Staying;
use crate::load::Load;
use crate::nodes::Nodes;

#[test]
fn one_server_alone_passes_what_nodes_must_pass() {
    let nodes = Nodes::start_with("", 1, &[]);
    let load = Load::start_with(&nodes, Staying::Messages(20));
    load.until_all_go_on(50);
    let summary = load.end();
    assert!(summary.recovered > 20 && summary.acknowledged > 100, "{summary:?}");
    assert_eq!((summary.gaps, summary.refused, summary.unknown), (0, 0, 0));
}
