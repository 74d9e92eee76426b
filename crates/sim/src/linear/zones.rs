//! Registers whose values are all unlike: after Gibbons and Korach, each value with its reads
//! has a zone in time, and the register is linearizable when the zones can be put in order.

use std::collections::BTreeMap;

use super::{Act, What};

/// From the first end to the last start of a value's operations, or the other way round.
#[derive(Debug)]
struct Zone {
    low: u64,
    high: u64,
    forward: bool, // some operation ended before another began: the value was there in between
}

#[derive(Debug)]
struct Cluster {
    written: u64,
    first_end: u64,
    last_start: u64,
}

/// Whether there is an order; if not, why not.
pub(super) fn check(acts: &[Act]) -> Result<(), String> {
    let mut clusters: BTreeMap<Option<&[u8]>, Cluster> = BTreeMap::new();
    clusters.insert(None, Cluster { written: 0, first_end: 0, last_start: 0 });
    for act in acts {
        if let What::Write(value) = &act.what {
            let cluster = Cluster { written: act.start, first_end: act.end, last_start: act.start };
            if clusters.insert(Some(value), cluster).is_some() {
                return Err("a value was written twice".to_owned());
            }
        }
    }
    for act in acts {
        let What::Read(value) = &act.what else { continue };
        let Some(cluster) = clusters.get_mut(&value.as_deref()) else {
            return Err(format!("a value is read that was never written: {:?}", text(value)));
        };
        if act.end < cluster.written {
            return Err(format!("a value is read before it is written: {:?}", text(value)));
        }
        cluster.first_end = cluster.first_end.min(act.end);
        cluster.last_start = cluster.last_start.max(act.start);
    }
    let mut zones: Vec<Zone> = clusters.values().map(Cluster::zone).collect();
    zones.sort_by_key(|zone| (zone.low, zone.high));
    ordered(&zones)
}

impl Cluster {
    fn zone(&self) -> Zone {
        let (end, start) = (self.first_end, self.last_start);
        Zone { low: end.min(start), high: end.max(start), forward: end < start }
    }
}

/// No two forward zones overlap, and no backward zone lies within a forward one.
fn ordered(zones: &[Zone]) -> Result<(), String> {
    for (index, one) in zones.iter().enumerate() {
        for two in zones.iter().skip(index + 1) {
            if two.low >= one.high {
                break;
            }
            let clash = match (one.forward, two.forward) {
                (true, true) => two.low < one.high,
                (true, false) => two.low > one.low && two.high < one.high,
                (false, true) => one.low > two.low && one.high < two.high,
                (false, false) => false,
            };
            if clash {
                return Err(format!("two values were there at once: {one:?} and {two:?}"));
            }
        }
    }
    Ok(())
}

fn text(value: &Option<Vec<u8>>) -> Option<String> {
    value.as_ref().map(|value| String::from_utf8_lossy(value).chars().take(12).collect())
}
