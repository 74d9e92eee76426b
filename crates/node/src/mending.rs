//! Damage that is found while the node runs: the entries are fetched from another node and put
//! where they lay. Until then whoever wanted them waits, and the node does not count in a recovery.

use std::time::Duration;

use antiphon_proto::{Batch, Event, Load, Lsn, NodeId, ShardId};
use antiphon_store::{Damage, LogReader, Mended, StoreError, Stretch};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tracing::{info, warn};

use crate::error::Fatal;
use crate::local::{Local, READ_ENTRIES};
use crate::machine::Machine;
use crate::owner::Owner;
use crate::status::DamageStatus;

/// Reads that may wait for the entries. A read that is turned away is asked for again.
const WAITING_MAX: usize = 1024;
/// Bytes of entries in one answer.
const ANSWER_BYTES: usize = 1 << 20;
/// How long another node may take for one answer.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// What is damaged, and who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Mending {
    open: Option<Open>,
    found: u64,
    mended: u64,
}

#[derive(Debug)]
struct Open {
    text: String,
    shard: ShardId,
    lsn: Lsn,
    running: bool,
    told: bool, // that no other node could help
    waiting: Vec<Load>,
}

impl Mending {
    pub(crate) fn status(&self) -> DamageStatus {
        let open = self.open.as_ref().map(|open| open.text.clone());
        DamageStatus { open, found: self.found, mended: self.mended }
    }
}

impl<M: Machine> Owner<M> {
    /// Entries can't be read. One place at a time is mended; what waits finds the next one.
    pub(crate) fn on_damaged(&mut self, load: Option<Load>, damage: &Damage) {
        let text = damage.to_string();
        let others = self.replica.config().voters.len() > 1;
        let Some((shard, lsn, _)) = damage.entries.filter(|_| others) else {
            self.fail(Fatal::Alone(text));
            return;
        };
        let open = self.mending.open.get_or_insert_with(|| {
            warn!(%damage, "fetching what can't be read from another node");
            self.mending.found += 1;
            Open { text, shard, lsn, running: false, told: false, waiting: Vec::new() }
        });
        let new = load.filter(|load| !open.waiting.contains(load));
        open.waiting.extend(new.filter(|_| open.waiting.len() < WAITING_MAX));
        self.step(Event::Unreadable(true));
        self.turn.notify_one();
    }

    /// The entries can be read again, or are no longer in the log.
    fn on_mended(&mut self) {
        let Some(open) = self.mending.open.take() else { return };
        info!(was = %open.text, "mended the log");
        self.mending.mended += 1;
        self.step(Event::Unreadable(false));
        open.waiting.into_iter().for_each(|load| self.disk.load(load));
    }

    /// No other node could give the entries now.
    fn on_unhelped(&mut self) {
        let Some(open) = &mut self.mending.open else { return };
        open.running = false;
        if !std::mem::replace(&mut open.told, true) {
            warn!(damage = %open.text, "no other node could give the entries; asking again");
        }
    }
}

/// Begins to mend what was found, unless that is under way.
pub(crate) fn begin<M: Machine>(local: &Local<M>) {
    let mut owner = local.inner().owner.borrow_mut();
    let Some(open) = owner.mending.open.as_mut().filter(|open| !open.running) else { return };
    open.running = true;
    tokio::task::spawn_local(mend(local.clone(), (open.shard, open.lsn)));
}

async fn mend<M: Machine>(local: Local<M>, (shard, lsn): (ShardId, Lsn)) {
    let (reader, nodes) = {
        let owner = local.inner().owner.borrow();
        let linked = owner.links.iter().filter(|(_, up)| **up).map(|(node, _)| *node);
        (owner.disk.reader(), linked.collect::<Vec<_>>())
    };
    let Some(stretch) = reader.stretch(shard, lsn) else {
        let again = tokio::task::spawn_blocking(move || reader.read(shard, lsn, 0)).await;
        let mut owner = local.inner().owner.borrow_mut();
        return match again {
            Ok(Err(StoreError::Damaged(_))) => owner.fail(Fatal::Disk(cant("its place is lost"))),
            // Cut or trimmed meanwhile.
            Ok(Ok(_) | Err(_)) => owner.on_mended(),
            Err(error) => owner.fail(Fatal::Disk(error.to_string())),
        };
    };
    let mut copy = None;
    for node in nodes {
        copy = fetch(&local, node, &stretch).await;
        if copy.is_some() {
            break;
        }
    }
    let Some(copy) = copy else { return local.inner().owner.borrow_mut().on_unhelped() };
    let mended = tokio::task::spawn_blocking(move || reader.mend(shard, &copy)).await;
    let mut owner = local.inner().owner.borrow_mut();
    match mended {
        Ok(Ok(Mended::Whole | Mended::Gone)) => owner.on_mended(),
        Ok(Ok(Mended::Unfit(why))) => owner.fail(Fatal::Disk(cant(why))),
        Ok(Err(error)) => owner.fail(Fatal::from(&error)),
        Err(error) => owner.fail(Fatal::Disk(error.to_string())),
    }
}

fn cant(why: &str) -> String {
    format!("damage in the log can't be mended in place: {why}; start again, and it is set aside")
}

/// The entries of a stretch as another node has them, if they are the same history.
async fn fetch<M: Machine>(local: &Local<M>, node: NodeId, stretch: &Stretch) -> Option<Batch> {
    let mut bytes = BytesMut::new();
    let (mut next, mut before) = (stretch.first, stretch.before);
    while next <= stretch.last {
        let mut request = BytesMut::with_capacity(16);
        request.put_u64_le(next.get());
        request.put_u64_le(stretch.last.get());
        let answer = local.call_kind(node, READ_ENTRIES, request.freeze(), ANSWER_TIME);
        let answer = answer.await.ok()?;
        let batch = Batch::decode(stretch.shard, before, answer).ok()?;
        let length = u64::try_from(bytes.len() + batch.bytes().len()).ok()?;
        if batch.first().lsn != next || length > stretch.bytes_max {
            return None;
        }
        bytes.extend_from_slice(batch.bytes());
        (next, before) = (batch.last().lsn.next(), batch.chain());
    }
    let copy = Batch::decode(stretch.shard, stretch.before, bytes.freeze()).ok()?;
    (copy.last().lsn == stretch.last && copy.chain() == stretch.after).then_some(copy)
}

/// Answers another node that asks for entries. It proves itself what it is given.
pub(crate) async fn answer<M: Machine>(local: &Local<M>, mut request: Bytes) -> Option<Bytes> {
    let first = Lsn::new(request.try_get_u64_le().ok()?);
    let last = Lsn::new(request.try_get_u64_le().ok()?);
    let (reader, shard) = {
        let owner = local.inner().owner.borrow();
        (owner.disk.reader(), owner.shard())
    };
    let read = tokio::task::spawn_blocking(move || read(&reader, shard, (first, last)));
    read.await.ok().flatten()
}

fn read(reader: &LogReader, shard: ShardId, (first, last): (Lsn, Lsn)) -> Option<Bytes> {
    // Whoever reads this log for itself finds its damage.
    let batch = reader.read(shard, first, ANSWER_BYTES).ok().flatten()?;
    Some(batch.up_to(last)?.bytes().clone())
}
