//! The table of keys, the four layers, and what is refused.

use std::path::PathBuf;

use super::*;

const SMALL: &str = r#"
[node]
id = 2
data_dir = "data"
[cluster]
name = "shop"
members = [
  { id = 1, peer = "a:7301", resp = "a:7101" },
  { id = 2, peer = "b:7301", resp = "b:7101", region = "north" },
]
[peer]
transport = "memory"
"#;

fn sources(text: &str) -> Sources {
    Sources { file: Some((PathBuf::from("node.toml"), text.to_owned())), ..Sources::default() }
}

fn read(sources: &Sources) -> Result<NodeConfig, Refused> {
    let config = NodeConfig::read(&Layers::merge(sources)?)?;
    check(&config, Scope::Text)?;
    Ok(config)
}

fn with_flag(key: &str, value: &str) -> Sources {
    Sources { flags: vec![(key.to_owned(), value.to_owned())], ..sources(SMALL) }
}

fn with_variable(name: &str, value: &str) -> Sources {
    Sources { environment: vec![(name.to_owned(), value.to_owned())], ..sources(SMALL) }
}

/// `sources` are refused with exactly the complaints `want`.
#[track_caller]
fn check_refused(sources: &Sources, want: &[&str]) {
    let error = read(sources).expect_err("it must be refused");
    let found: Vec<String> = error.0.iter().map(ToString::to_string).collect();
    assert_eq!(found, want);
}

#[test]
fn every_key_says_what_it_does_and_its_default() {
    for section in sections() {
        assert!(!section.about.is_empty(), "{}", section.name);
        for key in section.keys {
            let about = key.about.concat();
            let word = match key.presence {
                Presence::Default(_) => "Default",
                Presence::Required(_) => "Required",
                Presence::Optional(_) => "",
            };
            assert!(about.contains(word) && !about.is_empty(), "{}: {about}", section.path(key));
        }
    }
}

#[test]
fn environment_names_are_distinct() {
    let names = sections()
        .iter()
        .flat_map(|section| section.keys.iter().map(|key| section.environment(key)));
    let mut names: Vec<String> = names.collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn the_annotated_file_is_a_configuration() {
    let text = annotated();
    let config =
        NodeConfig::read(&Layers::merge(&sources(&text)).expect("known keys")).expect("values");
    assert_eq!(config.cluster.members.len(), 3);
    let missing = check(&config, Scope::Text).expect_err("certificates are left to the reader");
    assert_eq!(missing.0.len(), 3, "{missing}");
}

#[test]
fn the_annotated_file_with_every_comment_taken_out_is_one_too() {
    let text = annotated();
    let key = |line: &str| {
        let bare = line
            .strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
        bare.unwrap_or(line).to_owned()
    };
    let text: Vec<String> = text.lines().map(key).collect();
    let layers = Layers::merge(&sources(&text.join("\n"))).expect("known keys");
    let config = read(&sources(&text.join("\n"))).expect("the examples fit each other");
    assert!(config.cluster.default_policy.is_some());
    for section in sections() {
        for key in section.keys {
            let (_, origin) = layers.get(&section.path(key)).expect("all are set");
            assert!(matches!(origin, Origin::File { .. }), "{}: {origin}", section.path(key));
        }
    }
}

#[test]
fn defaults_are_what_the_table_says() {
    let config = read(&sources(SMALL)).expect("a small one is enough");
    assert_eq!(config.resp.listen.to_string(), "127.0.0.1:7101");
    assert_eq!(config.log.segment_bytes, ByteLen::new(64 << 20));
    assert_eq!(config.peer.bandwidth, ByteLen::new(1_250_000_000));
    assert_eq!(config.cluster.floor, antiphon_proto::Policy::Quorum);
    assert_eq!(config.own_member().and_then(|own| own.region.as_deref()), Some("north"));
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let mut sources = sources(&format!("{SMALL}\n[resp]\nlisten = \"127.0.0.1:1\"\n"));
    let listen = |sources: &Sources| {
        let layers = Layers::merge(sources).expect("known keys");
        let config = NodeConfig::read(&layers).expect("values");
        let (_, origin) = layers.get("resp.listen").expect("it has a default");
        (config.resp.listen.port(), origin.to_string())
    };
    assert_eq!(listen(&sources), (1, "node.toml:15".to_owned()));
    sources.environment.push(("ANTIPHON_RESP_LISTEN".to_owned(), "127.0.0.1:2".to_owned()));
    assert_eq!(listen(&sources), (2, "environment ANTIPHON_RESP_LISTEN".to_owned()));
    sources.flags.push(("resp.listen".to_owned(), "127.0.0.1:3".to_owned()));
    assert_eq!(listen(&sources), (3, "flag".to_owned()));
}

#[test]
fn every_kind_of_value_can_come_from_the_environment() {
    let id = read(&with_variable("ANTIPHON_NODE_ID", "1")).expect("a number");
    assert_eq!(id.node.id.get(), 1);
    let forward = read(&with_variable("ANTIPHON_RESP_FORWARD_WRITES", "false")).expect("a switch");
    assert!(!forward.resp.forward_writes);
    let retain = read(&with_variable("ANTIPHON_LOG_RETAIN_BYTES", "1073741824")).expect("a size");
    assert_eq!(retain.log.retain_bytes, ByteLen::new(1 << 30));
    let list = "[{ id = 2, peer = \"x:1\", resp = \"x:2\" }]";
    let members = read(&with_variable("ANTIPHON_CLUSTER_MEMBERS", list)).expect("a list");
    assert_eq!(members.cluster.members.len(), 1);
}

#[test]
fn variables_of_other_commands_are_not_ours() {
    read(&with_variable("ANTIPHON_BENCH_CLIENTS", "x")).expect("not a section");
    read(&with_variable("RESP_LISTEN", "x")).expect("not ours");
}

#[test]
fn unknown_keys_name_the_nearest() {
    let text = format!("{SMALL}\n[resp]\nlissten = \"x\"\n[lgo]\nx = 1\n[limits]\nfloor = 1\n");
    check_refused(
        &sources(&text),
        &[
            "node.toml:15: unknown key `resp.lissten`; did you mean `resp.listen`?",
            "node.toml:16: unknown section `lgo`; did you mean `log`?",
            "node.toml:19: unknown key `limits.floor`; did you mean `cluster.floor`?",
        ],
    );
}

#[test]
fn unknown_keys_of_flags_and_variables_are_refused_too() {
    check_refused(
        &with_flag("resp.lissten", "x"),
        &["flag: unknown key `resp.lissten`; did you mean `resp.listen`?"],
    );
    check_refused(
        &with_variable("ANTIPHON_RESP_LISSTEN", "x"),
        &[
            "environment ANTIPHON_RESP_LISSTEN: no key has this name; did you mean ANTIPHON_RESP_LISTEN?",
        ],
    );
}

#[test]
fn a_key_outside_its_section_and_text_that_is_no_toml_are_refused() {
    check_refused(
        &sources("resp = 1\n"),
        &["node.toml:1: `resp` is a section: write [resp] above its keys"],
    );
    let error = read(&sources("[node]\nid = 1\nid = 2\n")).expect_err("twice the same");
    assert!(error.to_string().starts_with("node.toml:3: duplicate key"), "{error}");
    let error = read(&sources("[node\n")).expect_err("not closed");
    assert!(error.to_string().starts_with("node.toml:1: "), "{error}");
    let error = read(&sources(&"#".repeat(2 << 20))).expect_err("too long");
    assert!(error.to_string().contains("more than any configuration needs"), "{error}");
}

#[test]
fn missing_keys_are_all_named() {
    check_refused(
        &sources(""),
        &[
            "`node.id` is required and not set",
            "`node.data_dir` is required and not set",
            "`cluster.name` is required and not set",
            "`cluster.members` is required and not set",
        ],
    );
}

#[test]
fn a_value_of_the_wrong_kind_says_where_it_stands() {
    for (key, value, want) in [
        ("node.id", "one", "flag: `node.id`: expected a whole number, found string \"one\""),
        ("node.id", "0", "flag: `node.id`: 0 is not within 1 to 18446744073709551615"),
        ("peer.mtu", "70000", "flag: `peer.mtu`: 70000 is not within 1 to 65535"),
        (
            "resp.forward_writes",
            "yes",
            "flag: `resp.forward_writes`: expected true or false, found string \"yes\"",
        ),
        (
            "log.retain_bytes",
            "4 gigs",
            "flag: `log.retain_bytes`: \"4 gigs\" is no size such as \"64 MiB\", \"1.25 GB\" or 4096",
        ),
        (
            "peer.transport",
            "quik",
            "flag: `peer.transport`: \"quik\" is none of quic, memory; did you mean quic?",
        ),
        (
            "cluster.floor",
            "ack(0)",
            "flag: `cluster.floor`: \"ack(0)\": no such policy: expected local, received(N), ack(N), quorum, all, region(N) or prefix(N), N from 1 to 15",
        ),
        (
            "peer.listen",
            "b",
            "flag: `peer.listen`: \"b\" is no host and port such as node-1.example:7301",
        ),
        (
            "cluster.members",
            "[{ id = 1, pier = \"x:1\" }]",
            "flag: `cluster.members`: member 1: unknown key `pier`; did you mean `peer`?",
        ),
        (
            "cluster.members",
            "[{ id = 1, peer = \"x:1\" }]",
            "flag: `cluster.members`: member 1: `resp` is missing",
        ),
    ] {
        check_refused(&with_flag(key, value), &[want]);
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (key, value, want) in [
        ("node.id", "3", "`node.id` is 3, but `cluster.members` has 1, 2"),
        (
            "resp.listen",
            "0.0.0.0:7101",
            "`resp.listen`: 0.0.0.0:7101 needs `resp.password_file` or `resp.tls_cert`: other machines reach it",
        ),
        ("resp.tls_cert", "x.pem", "`resp.tls_cert` and `resp.tls_key` belong together"),
        (
            "cluster.floor",
            "received(2)",
            "`cluster.floor`: received(2) does not survive a power failure",
        ),
        ("cluster.floor", "ack(3)", "`cluster.floor`: ack(3) needs more than 2 members"),
        (
            "cluster.default_policy",
            "region(3)",
            "`cluster.default_policy`: region(3) needs more than 2 regions",
        ),
        ("peer.mtu", "9001", "`peer.mtu`: 9001 is not within 1228 to 9000"),
        ("log.segment_bytes", "4096", "`log.segment_bytes`: 4 KiB is not within 1 MiB to 1 GiB"),
        (
            "limits.output_soft_bytes",
            "1 GiB",
            "`limits.output_soft_bytes` (1 GiB) is more than limits.output_hard_bytes (256 MiB)",
        ),
        (
            "resp.value_bytes_max",
            "65 MiB",
            "`resp.value_bytes_max` (65 MiB) is more than what an entry holds (64 MiB)",
        ),
        ("peer.round_trip", "0s", "`peer.round_trip`: zero is no time"),
        ("peer.idle_timeout", "499ms", "`peer.idle_timeout`: 499ms is not within 500ms to 1m"),
        ("peer.idle_timeout", "2m", "`peer.idle_timeout`: 120s is not within 500ms to 1m"),
    ] {
        check_refused(&with_flag(key, value), &[want]);
    }
    let list =
        "[{ id = 2, peer = \"x:1\", resp = \"x:1\" }, { id = 2, peer = \"y:0\", resp = \"y:1\" }]";
    check_refused(
        &with_flag("cluster.members", list),
        &[
            "`cluster.members`: x:1 is there twice",
            "`cluster.members`: 2 is there twice",
            "`cluster.members`: y:0 has no port to dial",
        ],
    );
}

#[test]
fn sizes() {
    for (text, want) in
        [("64 MiB", 64 << 20), ("64MiB", 64 << 20), ("1.5 kB", 1_500), ("7", 7), ("7 B", 7)]
    {
        assert_eq!(text.parse::<ByteLen>(), Ok(ByteLen::new(want)), "{text}");
    }
    for text in ["", "MiB", "-1", "1.5.5 kB", "99999999999 TiB", "1 XiB", "0x10", "1.1234567 GB"] {
        text.parse::<ByteLen>().expect_err(text);
    }
    for (bytes, want) in [(1 << 30, "1 GiB"), (1_500, "1500 B"), (1_250_000_000, "1250 MB")] {
        assert_eq!(ByteLen::new(bytes).to_string(), want);
    }
}

#[test]
fn endpoints() {
    for text in ["localhost:1", "10.0.0.1:65535", "[::1]:7301", "node-1.example:0"] {
        assert_eq!(text.parse::<Endpoint>().map(|found| found.to_string()), Ok(text.to_owned()));
    }
    for text in ["", ":1", "x", "x:", "x:65536", "::1:7301", "[::1", "http://x:1", "a b:1"] {
        text.parse::<Endpoint>().expect_err(text);
    }
}

#[test]
fn the_machine_is_looked_at_only_when_asked() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = busy.local_addr().expect("bound").to_string();
    let mut sources = with_flag("resp.listen", &address);
    let more = [
        ("http.listen", "off"),
        ("node.data_dir", "/dev/null/data"),
        ("resp.password_file", "/nonexistent/password"),
    ];
    sources.flags.extend(more.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let config = read(&sources).expect("the text is fine");
    let refused = check(&config, Scope::Machine).expect_err("the machine is not");
    let all = refused.to_string();
    assert_eq!(refused.0.len(), 3, "{all}");
    for want in [
        "`resp.listen`: cannot listen there",
        "`node.data_dir`: cannot write in /dev/null",
        "`resp.password_file`: cannot read",
    ] {
        assert!(all.contains(want), "{all}");
    }
}

#[test]
fn origins_are_shown_beside_values() {
    let layers = Layers::merge(&with_variable("ANTIPHON_PEER_MTU", "9000")).expect("known");
    let shown = with_origins(&layers, true);
    let line = |key: &str| {
        let line = shown.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("mtu"), "mtu = 9000 # environment ANTIPHON_PEER_MTU");
    assert_eq!(line("id ="), "id = 2 # node.toml:3");
    assert_eq!(line("floor"), "floor = \"quorum\" # default");
    let again = with_origins(&layers, false);
    assert_eq!(
        NodeConfig::read(&Layers::merge(&sources(&again)).expect("known")),
        NodeConfig::read(&layers)
    );
}
