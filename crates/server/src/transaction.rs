//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`: one transaction is one entry of the log.

use std::ops::Range;

use antiphon_kv::{Command, WatcherId};
use antiphon_proto::{Epoch, Lsn, NodeId};

use crate::core::{Call, Core, Effects, Flow};
use crate::shard::{Role, Shard};

/// Commands that wait for `EXEC`.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    commands: Vec<(&'static Command, Range<usize>)>, // ranges of `args`
    args: Vec<Range<usize>>,                         // ranges of `bytes`
    bytes: Vec<u8>,
    spoiled: bool,
}

/// Where this connection's watched keys are watched, and since which configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Watch {
    /// It watches nothing.
    #[default]
    None,
    /// In the engine here.
    Here {
        /// The configuration in which the watching began.
        epoch: Epoch,
    },
    /// At the primary.
    There {
        /// The primary.
        node: NodeId,
        /// The configuration in which the watching began.
        epoch: Epoch,
    },
}

impl Transaction {
    /// `EXEC` will refuse.
    pub(crate) fn spoil(&mut self) {
        self.spoiled = true;
    }

    fn push(&mut self, command: &'static Command, args: &[&[u8]]) {
        let first = self.args.len();
        for arg in args {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(arg);
            self.args.push(start..self.bytes.len());
        }
        self.commands.push((command, first..self.args.len()));
    }

    /// The commands in order, with their words.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static Command, Vec<&[u8]>)> {
        self.commands.iter().map(|(command, args)| {
            let spans = self.args.get(args.clone()).unwrap_or_default();
            let args = spans.iter().filter_map(|span| self.bytes.get(span.clone()));
            (*command, args.collect())
        })
    }

    /// How many commands there are.
    pub(crate) fn len(&self) -> usize {
        self.commands.len()
    }
}

/// What stands in the way of a transaction.
enum Obstacle {
    /// A watched key changed.
    Changed,
    /// Whether one changed cannot be known.
    Forgotten,
}

impl<S: Shard> Core<S> {
    /// Keeps a command for `EXEC`.
    pub(crate) fn queue(&mut self, command: &'static Command, call: &Call<'_>) {
        let limits = &self.server.config.limits;
        let Some(transaction) = &mut self.transaction else { return };
        let bytes: usize = call.args.iter().map(|arg| arg.len()).sum();
        let full = transaction.commands.len() >= limits.queued_max
            || transaction.bytes.len() + bytes > limits.query_bytes_max;
        if full {
            self.reject("ERR transaction exceeds the limit of queued commands", Some(command));
            return;
        }
        transaction.push(command, call.args);
        self.client.queued.set(Some(transaction.len()));
        self.queued();
    }

    /// `MULTI`.
    pub(crate) fn multi(&mut self) {
        if self.transaction.is_some() {
            self.reply().error("ERR MULTI calls can not be nested");
            return;
        }
        self.transaction = Some(Transaction::default());
        self.client.queued.set(Some(0));
        self.reply().ok();
    }

    /// `DISCARD`.
    pub(crate) fn discard_command(&mut self) {
        if self.transaction.is_none() {
            self.reply().error("ERR DISCARD without MULTI");
            return;
        }
        self.discard();
        self.reply().ok();
    }

    /// Forgets the transaction and the watched keys.
    pub(crate) fn discard(&mut self) {
        self.transaction = None;
        self.client.queued.set(None);
        self.unwatch();
    }

    /// `EXEC`.
    pub(crate) fn exec(&mut self, call: &Call<'_>) -> Flow {
        let Some(transaction) = self.transaction.take() else {
            self.reply().error("ERR EXEC without MULTI");
            return Flow::Done;
        };
        if transaction.spoiled {
            self.discard();
            self.reply().error("EXECABORT Transaction discarded because of previous errors.");
            return Flow::Done;
        }
        let view = self.server.shard.view();
        if let Role::Replica { .. } = view.role {
            return self.exec_at_primary(transaction, view.epoch);
        }
        if let Some(obstacle) = self.obstacle() {
            self.discard();
            match obstacle {
                Obstacle::Changed => self.reply().null_array(),
                Obstacle::Forgotten => self.reply().error(FORGOTTEN),
            }
            return Flow::Done;
        }
        let flow = self.exec_here(&transaction, call);
        if flow == Flow::Again {
            self.transaction = Some(transaction);
        } else {
            self.discard();
        }
        flow
    }

    fn exec_here(&mut self, transaction: &Transaction, call: &Call<'_>) -> Flow {
        let mark = self.replies.begin();
        self.reply().array(transaction.len());
        self.executing = Some(Effects { wrote: false, dirty: Lsn::ZERO });
        for (command, args) in transaction.iter() {
            let flow = self.run(command, &Call { args: &args, now: call.now });
            assert_eq!(flow, Flow::Done, "nothing waits within a transaction");
        }
        let did = self.executing.take().expect("nothing within a transaction ends it");
        self.finish(mark, did, call.now)
    }

    fn exec_at_primary(&mut self, transaction: Transaction, epoch: Epoch) -> Flow {
        let known = match self.watch {
            Watch::None => true,
            Watch::Here { .. } => false,
            Watch::There { epoch: since, .. } => since == epoch,
        };
        if !known {
            self.discard();
            self.reply().error(FORGOTTEN);
            return Flow::Done;
        }
        let flow = self.hand_on_transaction(&transaction);
        if flow == Flow::Again {
            self.transaction = Some(transaction);
            return flow;
        }
        // The primary forgets the watched keys by itself.
        self.watch = Watch::None;
        self.client.watching.set(false);
        self.client.queued.set(None);
        flow
    }

    fn obstacle(&self) -> Option<Obstacle> {
        let view = self.server.shard.view();
        match self.watch {
            Watch::None => None,
            Watch::There { .. } => Some(Obstacle::Forgotten),
            Watch::Here { epoch } if epoch != view.epoch => Some(Obstacle::Forgotten),
            Watch::Here { .. } => {
                let id = WatcherId::new(self.client.id);
                let now_ms = view.now_ms;
                let touched = self.server.shard.with(|engine| engine.watch_touched(id, now_ms));
                touched.then_some(Obstacle::Changed)
            }
        }
    }

    /// `WATCH`.
    pub(crate) fn watch(&mut self, call: &Call<'_>) -> Flow {
        if self.transaction.is_some() {
            self.reply().error("ERR WATCH inside MULTI is not allowed");
            return Flow::Done;
        }
        let view = self.server.shard.view();
        if let Role::Replica { primary } = view.role {
            let flow = self.hand_on(call);
            if let (Flow::Done, Some(node), Watch::None) = (flow, primary, self.watch) {
                self.watch = Watch::There { node, epoch: view.epoch };
                self.client.watching.set(true);
            }
            return flow;
        }
        let id = WatcherId::new(self.client.id);
        let db = self.client.db.get();
        let keys = call.args.get(1..).unwrap_or_default();
        let watched = self
            .server
            .shard
            .with(|engine| keys.iter().try_for_each(|key| engine.watch(id, db, key, view.now_ms)));
        if self.watch == Watch::None {
            self.watch = Watch::Here { epoch: view.epoch };
            self.client.watching.set(true);
        }
        match watched {
            Ok(()) => self.reply().ok(),
            Err(fault) => self.reply().error(fault.text()),
        }
        Flow::Done
    }

    /// Forgets the watched keys, here or at the primary.
    pub(crate) fn unwatch(&mut self) {
        match std::mem::take(&mut self.watch) {
            Watch::None => {}
            Watch::Here { .. } => {
                let id = WatcherId::new(self.client.id);
                self.server.shard.with(|engine| engine.unwatch(id));
            }
            Watch::There { node, .. } => self.forget_there(node),
        }
        self.client.watching.set(false);
    }
}

/// What a client is told when nobody knows any more whether its watched keys changed.
pub(crate) const FORGOTTEN: &str =
    "EXECABORT Transaction discarded because the primary changed since WATCH.";
