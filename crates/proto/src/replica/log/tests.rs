//! The view of a log agrees with a plain list of its entries.

use super::*;
use crate::Kind;
use proptest::prelude::*;

/// Everything that the log holds, as a list.
#[derive(Debug)]
struct Model {
    base: EntryId,
    entries: Vec<(EntryId, LogEnd)>,
    ended: LogEnd, // when there are no entries
    durable: Lsn,
}

impl Model {
    fn end(&self) -> LogEnd {
        self.entries.last().map_or(self.ended, |(_, end)| *end)
    }

    fn runs(&self) -> Vec<Cut> {
        let mut runs: Vec<Cut> = Vec::new();
        for (id, _) in &self.entries {
            runs.retain(|run| run.epoch != id.epoch);
            runs.push(Cut { epoch: id.epoch, end: id.lsn });
        }
        runs
    }
}

#[derive(Debug, Clone)]
enum Op {
    Push { epochs: u64, count: u64 },
    Durable(u64),
    Truncate(u64),
    Trim(u64),
    Evict(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0_u64..2, 1_u64..4).prop_map(|(epochs, count)| Op::Push { epochs, count }),
        2 => (0_u64..20).prop_map(Op::Durable),
        1 => (0_u64..20).prop_map(Op::Truncate),
        1 => (0_u64..20).prop_map(Op::Trim),
        1 => (0_usize..500).prop_map(Op::Evict),
    ]
}

/// A position of the log, by a number that may be anything.
fn place(model: &Model, raw: u64, to: Lsn) -> Lsn {
    let held = to.since(model.base.lsn);
    model.base.lsn.plus(raw.checked_rem(held + 1).unwrap_or_default())
}

fn id_at(model: &Model, lsn: Lsn) -> EntryId {
    model.entries.iter().map(|(id, _)| *id).find(|id| id.lsn == lsn).unwrap_or(model.base)
}

fn perform(view: &mut LogView, model: &mut Model, op: &Op) {
    match *op {
        Op::Push { epochs, count } => {
            let end = model.end();
            let epoch = Epoch::new(end.last.epoch.get().max(1) + epochs);
            let mut builder = view.builder(ShardId::default());
            for _ in 0..count {
                let last = builder.push(epoch, Kind::Noop, 0, |_| {});
                let end = LogEnd { last, chain: builder.chain(), hlc: builder.hlc() };
                model.entries.push((last, end));
            }
            view.push(builder.take().unwrap());
        }
        Op::Durable(raw) => {
            let to = place(model, raw, model.end().last.lsn);
            view.set_durable(to);
            model.durable = model.durable.max(to);
        }
        Op::Truncate(raw) => {
            let to = place(model, raw, model.end().last.lsn);
            if to > model.base.lsn {
                model.entries.retain(|(id, _)| id.lsn <= to);
                view.truncate(model.end());
                model.durable = model.durable.min(to);
            }
        }
        Op::Trim(raw) => {
            let to = place(model, raw, model.durable);
            model.ended = model.end();
            model.base = id_at(model, to);
            view.trim(model.base);
            model.entries.retain(|(id, _)| id.lsn > to);
        }
        Op::Evict(bytes) => view.evict(bytes),
    }
}

fn check(view: &LogView, model: &Model) {
    let end = model.end();
    assert_eq!((view.last(), view.chain(), view.hlc()), (end.last, end.chain, end.hlc));
    assert_eq!((view.base(), view.durable()), (model.base, model.durable));
    assert_eq!(view.runs(), model.runs());
    for raw in 0..end.last.lsn.get() + 2 {
        let lsn = Lsn::new(raw);
        let here = model.entries.iter().map(|(id, _)| *id).chain([model.base]);
        let known = here.into_iter().find(|id| id.lsn == lsn);
        assert_eq!(view.epoch_at(lsn), known.map(|id| id.epoch), "at {lsn}");
        let Some(batch) = view.after(lsn) else { continue };
        // What memory holds is the log, and whatever is not durable is in memory.
        assert_eq!(batch.first().lsn, lsn.next());
        for frame in batch.frames().filter(|frame| frame.header.id.lsn > model.base.lsn) {
            let (_, end) = model.entries.iter().find(|(id, _)| *id == frame.header.id).unwrap();
            assert_eq!(end.chain, frame.chain);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_view_is_the_list_of_its_entries(ops in prop::collection::vec(op(), 0..40)) {
        let mut view = LogView::new(LogStart::empty());
        let (base, ended) = (EntryId::ZERO, LogEnd::EMPTY);
        let mut model = Model { base, entries: vec![], ended, durable: Lsn::ZERO };
        for op in &ops {
            perform(&mut view, &mut model, op);
            check(&view, &model);
        }
    }
}

#[test]
fn what_is_not_durable_is_never_evicted() {
    let mut view = LogView::new(LogStart::empty());
    for _ in 0..3 {
        let mut builder = view.builder(ShardId::default());
        builder.push(Epoch::new(1), Kind::Noop, 0, |_| {});
        view.push(builder.take().unwrap());
    }
    view.set_durable(Lsn::new(1));
    view.evict(0);
    assert_eq!(view.after(Lsn::ZERO), None);
    assert_eq!(view.after(Lsn::new(1)).unwrap().first().lsn, Lsn::new(2));
}
