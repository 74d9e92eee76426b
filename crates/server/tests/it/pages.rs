//! The pages over a socket.

use std::net::SocketAddr;

use antiphon_server::Http;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Client;
use crate::fake::Fake;
use crate::node::{Node, local, until};

/// A page's first line, and the whole answer.
async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.expect("the pages are served");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the server answers");
    (answer.lines().next().unwrap_or_default().to_owned(), answer)
}

const FINE: &str = "HTTP/1.1 200 OK";
const AWAY: &str = "HTTP/1.1 503 Service Unavailable";

#[test]
fn a_primary_and_a_replica_tell_about_themselves() {
    local(async {
        let node = Node::usual().await;
        let pages = node.server.pages();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let http = Http::start(any, node.server.pages(), None).expect("a free port is there");
        until(|| pages.newest().is_some()).await;
        for path in ["/livez", "/startupz", "/readyz", "/primary"] {
            assert_eq!(get(http.address(), path).await.0, FINE, "{path}");
        }
        let mut client = Client::connect(node.address).await;
        client.check("SET k v", "+OK\r\n").await;
        let (_, metrics) = get(http.address(), "/metrics").await;
        assert!(metrics.contains("antiphon_commands_total{command=\"set\"} 1\n"), "{metrics}");
        assert!(metrics.contains("antiphon_clients 1\n"), "{metrics}");
        let (_, status) = get(http.address(), "/status").await;
        assert!(status.contains("\"schema\": \"antiphon.status/1\""), "{status}");
        assert!(status.contains("\"role\": \"primary\""), "{status}");
        assert_eq!(get(http.address(), "/nothing").await.0, "HTTP/1.1 404 Not Found");
        node.shard.demote();
        until(|| pages.newest().is_some_and(|newest| !newest.status.primary)).await;
        assert_eq!(get(http.address(), "/primary").await.0, AWAY);
        for wrong in ["/replica?max_lag=soon", "/replica?max_lag", "/replica?lag=1s"] {
            assert_eq!(get(http.address(), wrong).await.0, "HTTP/1.1 400 Bad Request", "{wrong}");
        }
        assert_eq!(get(http.address(), "/changes").await.0, "HTTP/1.1 403 Forbidden");
    });
}

#[test]
fn nothing_is_alive_before_the_first_picture() {
    local(async {
        let server = antiphon_server::Server::new(Fake::primary(), crate::node::config(), 1);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let http = Http::start(any, server.pages(), None).expect("a free port is there");
        for path in ["/livez", "/readyz", "/primary", "/status"] {
            assert_eq!(get(http.address(), path).await.0, AWAY, "{path}");
        }
    });
}
