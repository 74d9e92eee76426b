//! Performing effects: disk, links, state.

use antiphon_net::Outgoing;
use antiphon_proto::{Batch, Effect, Envelope, Frame, Kind, LogEnd, Message, NodeId};
use tracing::{info, warn};

use crate::error::Fatal;
use crate::machine::{ApplyError, Machine};
use crate::owner::Owner;
use crate::status::lane;

impl<M: Machine> Owner<M> {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Persist { ticket, hard } => self.disk.persist(ticket, hard),
            Effect::Append(batch) => self.disk.append(batch),
            Effect::Truncate(after) => {
                warn!(%after, "cutting entries that another epoch did not keep");
                self.counts.log_cuts += 1;
                self.disk.truncate(after);
            }
            Effect::Send { to, envelope } => {
                self.count(&envelope.message);
                self.send(to, &envelope);
            }
            Effect::Load(load) => self.disk.load(load),
            Effect::Apply(batch) => self.apply(&batch),
            Effect::Serve => info!(epoch = %self.replica.config().epoch, "serving as primary"),
            Effect::Resign => {
                self.machine.forget_speculation();
                self.sessions.forget_speculation();
                self.waiters.wake_all();
            }
            Effect::Halt(why) => self.fail(Fatal::Halted(why)),
        }
    }

    fn count(&mut self, sent: &Message) {
        if let Message::Open(_) = sent {
            self.counts.resyncs += 1;
        }
        if let Message::Closed { reason, .. } = sent {
            self.counts.ended(*reason);
        }
    }

    fn apply(&mut self, batch: &Batch) {
        for frame in batch.frames() {
            if let Err(error) = self.apply_one(&frame) {
                self.counts.unapplied += 1;
                self.fail(Fatal::Apply(frame.header.id, error));
                return;
            }
            self.applied_entries += 1;
        }
        self.counts.applied_bytes += u64::try_from(batch.bytes().len()).unwrap_or(u64::MAX);
        self.applied = LogEnd { last: batch.last(), chain: batch.chain(), hlc: batch.last_hlc() };
    }

    fn apply_one(&mut self, frame: &Frame<'_>) -> Result<(), ApplyError> {
        let Self { machine, sessions, .. } = self;
        match frame.header.kind {
            Kind::Data => machine.apply(frame),
            Kind::SessionOpen | Kind::SessionClose | Kind::SessionData => {
                sessions.apply(frame, |entry, replying| {
                    if replying {
                        machine.apply_replying(entry)
                    } else {
                        machine.apply(entry).map(|()| None)
                    }
                })
            }
            Kind::EpochStart | Kind::Noop => Ok(()),
        }
    }

    pub(super) fn peers_send(&mut self, to: NodeId, envelope: &Envelope) -> bool {
        let lane = lane(envelope.message.lane());
        let encoded = envelope.encode();
        match self.peers.try_send(to, lane, Outgoing::new(encoded.head, encoded.body)) {
            Ok(()) => true,
            Err(error) => {
                warn!(peer = %to, %lane, %error, "failed to send");
                false
            }
        }
    }
}
