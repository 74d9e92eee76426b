//! New certificates for the links of a running node: read when their files change, or on SIGHUP.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use antiphon_net::AnyTransport;
use antiphon_net::certs::{CredentialFiles, Credentials};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Follows the files until the future is dropped.
pub(super) async fn follow(links: Arc<AnyTransport>, files: CredentialFiles, cluster: String) {
    let mut hangup = signal(SignalKind::hangup())
        .inspect_err(|error| warn!(%error, "SIGHUP can't be heard; the files are still looked at"))
        .ok();
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut known = changed_at(&files);
    loop {
        let asked = tokio::select! {
            _ = look.tick() => false,
            () = heard(&mut hangup) => true,
        };
        let now = changed_at(&files);
        if std::mem::replace(&mut known, now) != now || asked {
            renew(&links, &files, &cluster);
        }
    }
}

/// Waits for the signal; for ever when it can't be heard.
async fn heard(hangup: &mut Option<Signal>) {
    let told = match hangup {
        Some(hangup) => hangup.recv().await,
        None => None,
    };
    if told.is_none() {
        std::future::pending::<()>().await;
    }
}

/// When each file changed last; none for one that can't be looked at.
fn changed_at(files: &CredentialFiles) -> [Option<SystemTime>; 3] {
    let of = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    [of(&files.certificate), of(&files.key), of(&files.authorities)]
}

fn renew(links: &AnyTransport, files: &CredentialFiles, cluster: &str) {
    // Certificate and key are two files: between the two renames they don't belong together,
    // and the next look finds them whole.
    let loaded = Credentials::load(files, cluster).map_err(|error| error.to_string());
    let shown = loaded
        .and_then(|credentials| links.reload(&credentials).map_err(|error| error.to_string()));
    match shown {
        Ok(()) => info!("other nodes are shown the new certificate from now on"),
        Err(error) => warn!(%error, "failed to read the new certificate, the old one stays"),
    }
}
