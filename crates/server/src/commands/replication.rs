//! The node's part in replication, snapshots, and its end, in Redis's words.

use antiphon_kv::Session;

use crate::core::Core;
use crate::resp::Writer;
use crate::shard::Shard;
use crate::status::Status;

/// The answer to `REPLICAOF`.
pub(super) const NO_REPLICAOF: &str = "ERR REPLICAOF is not used here: cluster.members of the nodes' \
                                       configuration says who follows whom";
/// The answer to `FAILOVER`.
pub(super) const NO_FAILOVER: &str = "ERR FAILOVER is not used here: cluster.members of the nodes' configuration names the primary first";
const NO_SHUTDOWN: &str = "ERR SHUTDOWN is refused here: stop the node with its service manager, \
                           or allow it in the configuration";

/// `ROLE`.
pub(super) fn role<S: Shard>(core: &mut Core<S>) {
    let status = core.server.shard.status();
    let mut reply = core.reply();
    if status.primary { primary(&mut reply, &status) } else { replica(&mut reply, &status) }
}

fn primary(reply: &mut Writer<'_>, status: &Status) {
    reply.array(3);
    reply.bulk(b"master");
    reply.int(number(status.last.get()));
    let there = || status.replicas.iter().filter(|replica| replica.connected);
    reply.array(there().count());
    for replica in there() {
        reply.array(3);
        reply.bulk(replica.host.as_bytes());
        reply.bulk(replica.port.to_string().as_bytes());
        reply.bulk(replica.received.to_string().as_bytes());
    }
}

fn replica(reply: &mut Writer<'_>, status: &Status) {
    let upstream = status.upstream.clone().unwrap_or_default();
    let state = match (upstream.connected, upstream.loading) {
        (true, false) => "connected",
        (true, true) => "sync",
        (false, _) => "connect",
    };
    reply.array(5);
    reply.bulk(b"slave");
    reply.bulk(upstream.host.as_bytes());
    reply.int(i64::from(upstream.port));
    reply.bulk(state.as_bytes());
    reply.int(number(status.applied.get()));
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// `SAVE` and `BGSAVE`: both take a snapshot beside the traffic.
pub(super) fn save<S: Shard>(core: &mut Core<S>, session: Session) {
    let shard = &core.server.shard;
    // Without a new one begun and without one under way, the last one holds everything.
    if !shard.snapshot() && shard.status().snapshotting {
        return core.reply().error("ERR Background save already in progress");
    }
    if session == Session::BgSave {
        core.reply().simple("Background saving started");
    } else {
        core.reply().ok();
    }
}

/// `LASTSAVE`.
pub(super) fn last_save<S: Shard>(core: &mut Core<S>) {
    let at = number(core.server.shard.status().snapshot_at_s);
    core.reply().int(at);
}

/// `SHUTDOWN`.
pub(super) fn shutdown<S: Shard>(core: &mut Core<S>) {
    if core.server.config.allow_shutdown {
        core.server.shard.shutdown();
        core.closing = true;
    } else {
        core.reply().error(NO_SHUTDOWN);
    }
}
