//! The spellings of a node's name.

use super::*;

#[test]
fn a_spiffe_name_has_a_cluster_and_a_node() {
    let node = |cluster: &str, id| {
        Some(Named::Spiffe { cluster: cluster.to_owned(), node: NodeId::new(id) })
    };
    for (uri, want) in [
        ("spiffe://demo/node/7", node("demo", 7)),
        ("spiffe://a.b-c/node/18446744073709551615", node("a.b-c", u64::MAX)),
        ("spiffe://demo/node/18446744073709551616", None),
        ("spiffe://demo/node/0", None),
        ("spiffe://demo/node/07", None),
        ("spiffe://demo/node/+7", None),
        ("spiffe://demo/node/7/x", None),
        ("spiffe://demo/node/", None),
        ("spiffe://demo/admin/7", None),
        ("spiffe:///node/7", None),
        ("https://demo/node/7", None),
    ] {
        assert_eq!(parse_spiffe(uri), want, "{uri}");
    }
}

#[test]
fn a_dns_name_has_a_node_in_its_first_label() {
    for (name, want) in [
        ("node-2", Some(2)),
        ("NODE-2.rack.example", Some(2)),
        ("node-2.", Some(2)),
        ("node-", None),
        ("node-0", None),
        ("node-02", None),
        ("node-2x", None),
        ("a.node-2", None),
        ("nodé-2", None),
        ("", None),
    ] {
        assert_eq!(parse_dns(name), want.map(NodeId::new), "{name}");
    }
}
