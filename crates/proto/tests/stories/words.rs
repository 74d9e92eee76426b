//! How the stories spell messages and effects: one compact line each.

use antiphon_proto::{
    Ack, Batch, Chain, Closed, Config, EntryId, Envelope, Frame, HardState, Kind, Load, LoadFor,
    Lsn, Message, Positions, RoleStatus, ShardId, Status,
};
use bytes::Bytes;

/// Entries as `1/2` or `1/2..1/4`.
pub(crate) fn range(first: EntryId, last: EntryId) -> String {
    if first == last { first.to_string() } else { format!("{first}..{last}") }
}

fn frames(shard: ShardId, before: Chain, bytes: &Bytes) -> String {
    match Batch::decode(shard, before, bytes.clone()) {
        Ok(batch) => range(batch.first(), batch.last()),
        Err(error) => format!("damaged: {error}"),
    }
}

pub(crate) fn message(envelope: &Envelope) -> String {
    let Envelope { shard, epoch, message } = envelope;
    match message {
        Message::Open(open) => format!("open in {epoch} after {}", open.last),
        Message::Closed { reason, .. } => format!("closed: {}", closed(*reason)),
        Message::Append(append) if append.frames.is_empty() => format!("stable {}", append.stable),
        Message::Append(append) => {
            let what = frames(*shard, append.before, &append.frames);
            format!("append {what}, stable {}", append.stable)
        }
        Message::Ack(ack) => acked(ack),
        Message::Seal => format!("seal {epoch}"),
        Message::Sealed(sealed) => {
            let amnesia = if sealed.amnesiac { ", amnesiac" } else { "" };
            let amnesia = if sealed.blank { ", blank" } else { amnesia };
            format!("sealed {epoch} with last {}{amnesia}", sealed.last)
        }
        Message::SealRefused => format!("refused, promised {epoch}"),
        Message::Config(config) => format!("config {}", cuts(config)),
        Message::Fetch { after } => format!("fetch after {after}"),
        Message::Fetched { frames: none, .. } if none.is_empty() => "fetched nothing".to_owned(),
        Message::Fetched { before, frames: found, .. } => {
            format!("fetched {}", frames(*shard, *before, found))
        }
        Message::Call { id, .. } => format!("call {id}"),
        Message::Answer { id, .. } => format!("answer {id}"),
    }
}

fn closed(reason: Closed) -> String {
    match reason {
        Closed::Diverged => "diverged".to_owned(),
        Closed::Trimmed(first) => format!("log begins at {first}"),
        Closed::Behind => "not in that epoch".to_owned(),
    }
}

fn acked(ack: &Ack) -> String {
    let one = |positions: &Positions| {
        let Positions { received, durable, .. } = positions;
        if received == durable { durable.to_string() } else { format!("{durable} of {received}") }
    };
    let below: Vec<_> = ack
        .below
        .iter()
        .map(|(node, positions)| format!(", {node} has {}", one(positions)))
        .collect();
    format!("ack {}{}", one(&ack.own), below.concat())
}

fn cuts(config: &Config) -> String {
    let rows: Vec<_> =
        config.history.iter().map(|row| format!(", {} ended at {}", row.epoch, row.end)).collect();
    format!("{}{}", config.epoch, rows.concat())
}

pub(crate) fn hard(id: u64, bytes: &Bytes) -> String {
    let hard = HardState::decode(bytes).expect("a hard state that was just encoded");
    let owed = match hard.owed {
        Lsn::ZERO => String::new(),
        Lsn::MAX => ", owes an unknown end".to_owned(),
        owed => format!(", owes up to {owed}"),
    };
    let primary = hard.config.primary.get() == id;
    let unserved = if primary && !hard.established { ", never served" } else { "" };
    format!("writes promise {}, config {}{owed}{unserved}", hard.promised, hard.config.epoch)
}

pub(crate) fn load(load: &Load) -> String {
    let whom = match load.purpose {
        LoadFor::Child { node, .. } | LoadFor::Fetch { node, .. } => node.to_string(),
        LoadFor::Apply => "its state".to_owned(),
    };
    format!("reads its log after {} for {whom}", load.after)
}

pub(crate) fn applied(batch: &Batch) -> String {
    let one = |frame: Frame<'_>| {
        let lsn = frame.header.id.lsn;
        match frame.header.kind {
            Kind::Data => format!("{lsn} {}", String::from_utf8_lossy(frame.payload)),
            Kind::EpochStart => format!("{lsn} (epoch {} starts)", frame.header.id.epoch),
            Kind::Noop => format!("{lsn} (nothing)"),
            Kind::SessionOpen | Kind::SessionClose | Kind::SessionData => {
                format!("{lsn} (of a session)")
            }
        }
    };
    batch.frames().map(one).collect::<Vec<_>>().join(", ")
}

pub(crate) fn status(status: &Status) -> String {
    let role = match status.role {
        RoleStatus::Follower { synced: true } => "follower".to_owned(),
        RoleStatus::Follower { synced: false } => "follower, not synced".to_owned(),
        RoleStatus::Recovering { epoch, needs_snapshot: false } => format!("recovering in {epoch}"),
        RoleStatus::Recovering { epoch, needs_snapshot: true } => {
            format!("recovering in {epoch}, needs a snapshot")
        }
        RoleStatus::Primary { serving: true } => "primary".to_owned(),
        RoleStatus::Primary { serving: false } => "primary, not serving".to_owned(),
        RoleStatus::Halted => "halted".to_owned(),
    };
    let Status { last, durable, stable, applied, .. } = status;
    let amnesia = if status.amnesiac { ", amnesiac" } else { "" };
    let waiting = status.waiting.as_ref().map(|waiting| format!("; {waiting}")).unwrap_or_default();
    let promised = if status.promised == status.config.epoch {
        String::new()
    } else {
        format!(" promised {}", status.promised)
    };
    format!(
        "{role}{amnesia}: epoch {}{promised}, last {last}, durable {durable}, stable {stable}, applied {applied}",
        status.config.epoch
    ) + &waiting
}
