//! Checks of one node against what is known of it.

use antiphon_proto::{EntryId, Envelope, LogStart, Lsn, Message};

use super::World;
use crate::oracle::{Verdict, ensure};
use crate::storage::Found;

impl World {
    /// What a process finds on its disk is what was synced there, at least.
    pub(super) fn check_found(&mut self, at: usize, found: &Found) -> Verdict {
        let node = self.node(at);
        let (truth, name, hurt) = (node.truth.clone(), at + 1, node.media.hurt);
        let promised = found.hard.as_ref().map(|hard| hard.promised).unwrap_or_default();
        let (end, chain, told) = (found.log.end.last, found.log.end.chain, node.told);
        self.oracle.found(node.id, end, chain)?;
        if found.torn {
            self.mark("torn tail cut");
        }
        if found.amnesia {
            self.mark("amnesia found");
        }
        ensure!(!found.amnesia || hurt, "no false amnesia", "n{name} ends with {end}");
        ensure!(
            promised >= truth.promised && promised >= told,
            "I2 promises are kept",
            "n{name} starts with promise {promised}, {} was synced, {told} was answered",
            truth.promised
        );
        let kept = epoch_at(&found.log, truth.end.lsn) == Some(truth.end.epoch);
        let cut = truth.cut.is_some_and(|lsn| end.lsn >= lsn);
        let cut = cut || found.amnesia;
        ensure!(
            kept || cut,
            "what was synced is there",
            "n{name} starts with a log to {end}, {} was synced",
            truth.end
        );
        Ok(())
    }

    /// What a node says to others is covered by its disk.
    pub(super) fn check_send(&mut self, at: usize, envelope: &Envelope) -> Verdict {
        let node = self.node_mut(at);
        let name = at + 1;
        match &envelope.message {
            Message::Sealed(sealed) => {
                node.told = node.told.max(envelope.epoch);
                ensure!(
                    node.truth.promised >= envelope.epoch,
                    "I2 promises are durable before they are answered",
                    "n{name} promises {} with {} on disk",
                    envelope.epoch,
                    node.truth.promised
                );
                ensure!(
                    sealed.last.lsn <= node.truth.end.lsn,
                    "a promise tells of what is on disk",
                    "n{name} tells of {} with {} on disk",
                    sealed.last,
                    node.truth.end
                );
            }
            Message::Ack(ack) => {
                ensure!(
                    envelope.epoch >= node.told,
                    "I2 nothing below a promise is accepted",
                    "n{name} acknowledges in {} and promised {}",
                    envelope.epoch,
                    node.told
                );
                ensure!(
                    envelope.epoch <= node.truth.promised,
                    "I2 an epoch is durable before it is acknowledged in",
                    "n{name} acknowledges in {} with {} on disk",
                    envelope.epoch,
                    node.truth.promised
                );
                ensure!(
                    ack.own.durable <= node.truth.end.lsn,
                    "acknowledgements are covered by the disk",
                    "n{name} acknowledges {} with {} on disk",
                    ack.own.durable,
                    node.truth.end
                );
            }
            Message::Open(_)
            | Message::Closed { .. }
            | Message::Append(_)
            | Message::Seal
            | Message::SealRefused
            | Message::Config(_)
            | Message::Fetch { .. }
            | Message::Fetched { .. }
            | Message::Call { .. }
            | Message::Answer { .. } => {}
        }
        Ok(())
    }

    /// What the primary takes before the floor has it is bounded.
    pub(super) fn check_room(&mut self, at: usize, last: EntryId) -> Verdict {
        let Some(process) = self.node(at).process.as_ref() else { return Ok(()) };
        let bytes = self.oracle.bytes_between(process.replica.stable(), last);
        // The limit is met before an entry's header is added; one entry is always taken.
        let one = 2 * self.plan.work.value_bytes + 600;
        let most = one.max(self.plan.knobs.unstable_bytes as u64 + 128);
        ensure!(bytes <= most, "unstable entries are bounded", "{bytes} of {most} bytes");
        Ok(())
    }

    /// Positions of a node are in order and never fall.
    pub(super) fn check_positions(&mut self, at: usize) -> Verdict {
        let node = self.node_mut(at);
        let (truth, name) = (node.truth.end.lsn, at + 1);
        let Some(process) = node.process.as_mut() else { return Ok(()) };
        let replica = &process.replica;
        let (stable, durable, applied) = (replica.stable(), replica.durable(), replica.applied());
        ensure!(
            applied <= stable && applied <= durable,
            "I9 only what is stable and on disk is applied",
            "n{name} applied {applied}, stable {stable}, durable {durable}"
        );
        ensure!(
            applied == process.applied.lsn,
            "what is called applied is applied",
            "n{name} applied {applied} and {}",
            process.applied
        );
        ensure!(
            durable <= truth,
            "what is called durable is on disk",
            "n{name} durable {durable}, {truth} was synced"
        );
        ensure!(
            stable >= process.stable,
            "what is stable stays stable",
            "n{name} from {} to {stable}",
            process.stable
        );
        process.stable = stable;
        while let Some(first) = process.appended_at.first_entry()
            && *first.key() <= stable
        {
            first.remove();
        }
        let positions = (durable.get() << 42) ^ (stable.get() << 21) ^ applied.get();
        self.log(at, positions, || format!("durable {durable} stable {stable} applied {applied}"));
        Ok(())
    }
}

fn epoch_at(log: &LogStart, lsn: Lsn) -> Option<antiphon_proto::Epoch> {
    if lsn <= log.base.lsn {
        // Entries that were trimmed were stable; the name of the last of them is known.
        return Some(log.base.epoch).filter(|_| lsn == log.base.lsn);
    }
    log.runs.iter().find(|run| run.end >= lsn).map(|run| run.epoch)
}
