//! What a demo says.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::commands::demo::DemoArgs;
use crate::commands::demo::nodes::Nodes;
use crate::commands::status;

/// The client addresses of the nodes.
pub(crate) fn addresses(first: u16, nodes: u16) -> Vec<SocketAddr> {
    let ports = (0..nodes).map(|index| first.saturating_add(index));
    ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
}

/// The first line.
pub(crate) fn heading(args: &DemoArgs, dir: &Path) -> String {
    let DemoArgs { nodes, shape, .. } = args;
    let links = if args.in_process { "links in memory" } else { "QUIC with mutual TLS" };
    let dir = dir.display();
    format!("{nodes} nodes as a {shape}, floor quorum, {links}, files in {dir}\n")
}

/// The line `ready`, the cluster, and what to do with it.
pub(crate) fn ready(args: &DemoArgs, nodes: &Nodes, took: Duration) -> String {
    let mut out = String::from("ready\n");
    let pages: Vec<String> =
        addresses(args.http_port, args.nodes).iter().map(ToString::to_string).collect();
    let ports: Vec<String> =
        addresses(args.resp_port, args.nodes).iter().map(|a| a.port().to_string()).collect();
    let (one, last) = (args.resp_port, ports.last().cloned().unwrap_or_default());
    let mut line = |text: std::fmt::Arguments<'_>| {
        out.write_fmt(text).expect("a string takes whatever is written to it");
        out.push('\n');
    };
    line(format_args!("\n{}", status::table_of(&pages)));
    line(format_args!("First write accepted {} ms after the start.\n", took.as_millis()));
    line(format_args!(
        "Connect  redis-cli -p {one}      any of {}; a write to any node works",
        ports.join(", ")
    ));
    line(format_args!("Try      redis-cli -p {one} set greeting hello"));
    line(format_args!("         redis-cli -p {last} get greeting"));
    line(format_args!("         antiphon bench --address 127.0.0.1:{one}"));
    line(format_args!("         antiphon status --address {}", pages.join(",")));
    if let Some((node, pid)) = nodes.pids().last() {
        line(format_args!("         kill -9 {pid}               ends node {node}; writes go on"));
    }
    line(format_args!("Ctrl-C ends all of it."));
    out
}
