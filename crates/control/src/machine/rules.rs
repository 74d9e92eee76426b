//! The rules that hold for every change, whoever asks: a node's older run or replaced disk never
//! comes back, an epoch never names two configurations.

use antiphon_proto::Config;

use super::{Machine, NODES_KEPT_MAX, SHARDS_MAX};
use crate::{
    ClusterRecord, Command, FORMER_STORES_MAX, Item, Key, NodeRecord, Record, Refusal,
    RegisterRule, Role, ShardRecord,
};

/// The first rule that a command breaks which expects what is there.
pub(super) fn check(machine: &Machine, command: &Command) -> Result<(), Refusal> {
    let founds = command.items.iter().any(|item| item.record.key() == Key::Cluster);
    if machine.get(Key::Cluster).is_none() && !founds {
        return Err(Refusal { key: Key::Cluster, rule: RegisterRule::NotFounded });
    }
    for item in &command.items {
        let key = item.record.key();
        follows(machine, item).map_err(|rule| Refusal { key, rule })?;
    }
    room(machine, command)
}

fn follows(machine: &Machine, item: &Item) -> Result<(), RegisterRule> {
    let before = machine.get(item.record.key()).map(|before| &*before.record);
    match (&item.record, before) {
        (Record::Cluster(new), Some(Record::Cluster(old))) => cluster_follows(old, new),
        (Record::Node(new), Some(Record::Node(old))) => node_follows(old, new),
        (Record::Node(new), None) if !new.former_stores.is_empty() => Err(RegisterRule::OtherStore),
        (Record::Shard(new), Some(Record::Shard(old))) => shard_follows(old, new),
        _ => Ok(()), // the first of its key
    }
}

fn cluster_follows(old: &ClusterRecord, new: &ClusterRecord) -> Result<(), RegisterRule> {
    let same = old.cluster == new.cluster && old.name == new.name && old.founded == new.founded;
    if same { Ok(()) } else { Err(RegisterRule::OtherCluster) }
}

fn node_follows(old: &NodeRecord, new: &NodeRecord) -> Result<(), RegisterRule> {
    if old.role == Role::Removed {
        return Err(RegisterRule::Removed);
    }
    if new.store == old.store {
        let remembers = new.former_stores == old.former_stores;
        return if new.incarnation < old.incarnation {
            Err(RegisterRule::OldIncarnation)
        } else if remembers {
            Ok(())
        } else {
            Err(RegisterRule::OtherStore)
        };
    }
    if old.former_stores.contains(&new.store) {
        return Err(RegisterRule::FormerStore);
    }
    if old.former_stores.len() == FORMER_STORES_MAX {
        return Err(RegisterRule::TooManyStores);
    }
    // Whoever replaces a data directory says so, by naming the one that goes.
    let replaced = old.former_stores.iter().chain([&old.store]);
    if new.former_stores.iter().eq(replaced) { Ok(()) } else { Err(RegisterRule::OtherStore) }
}

/// Each configuration is one that was there or has an epoch over all that were, and what was
/// begun is not taken back: an epoch that was given away names one configuration for ever.
fn shard_follows(old: &ShardRecord, new: &ShardRecord) -> Result<(), RegisterRule> {
    let newest = old.newest_epoch();
    let known = |config: &Config| config == &old.active || Some(config) == old.pending.as_ref();
    let fresh = |config: &Config| config.epoch > newest || known(config);
    let forward = new.active.epoch >= old.active.epoch && new.newest_epoch() >= newest;
    if forward && fresh(&new.active) && new.pending.as_ref().is_none_or(fresh) {
        Ok(())
    } else {
        Err(RegisterRule::OldEpoch)
    }
}

fn room(machine: &Machine, command: &Command) -> Result<(), Refusal> {
    let (mut nodes, mut shards) = (machine.nodes, machine.shards);
    for item in &command.items {
        let key = item.record.key();
        let new = usize::from(machine.get(key).is_none());
        match key {
            Key::Cluster => {}
            Key::Node(_) => nodes += new,
            Key::Shard(_) => shards += new,
        }
        if nodes > NODES_KEPT_MAX || shards > SHARDS_MAX {
            return Err(Refusal { key, rule: RegisterRule::Full });
        }
    }
    Ok(())
}
