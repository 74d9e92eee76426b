//! What a seed expands to: everything that a run is made of, printed and read back as JSON.

mod draw;
mod fault;
mod profile;

use antiphon_proto::{Config, ConfigError, Limits, Member, NodeId, Policy, ShardId};
use serde::{Deserialize, Serialize};

pub use self::fault::{CrashPoint, Fault, Timed};
pub use self::profile::Profile;

/// The log that is simulated.
pub(crate) const SHARD: ShardId = ShardId::new(0);

/// A run, before it runs. Times are in microseconds of simulated time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Decides delays and what clients ask.
    pub seed: u64,
    /// What the plan was drawn for.
    pub profile: Profile,
    /// Nodes; node 1 is the primary.
    pub nodes: u64,
    /// Whether each node receives from the one before it and not from the primary.
    pub chain: bool,
    /// Regions over which the nodes are spread, in turn.
    pub regions: u64,
    /// The floor, as users write it.
    pub floor: String,
    /// Limits of the machine.
    pub knobs: Knobs,
    /// The links.
    pub net: Net,
    /// The disks.
    pub disk: DiskPlan,
    /// The clients.
    pub work: Work,
    /// Faults, by time.
    pub faults: Vec<Timed>,
    /// When faults end and healing begins.
    pub until_us: u64,
    /// The planted bug, by name.
    pub mutation: Option<String>,
}

/// As the machine's limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named and described as the fields of the machine's limits")]
pub struct Knobs {
    pub unstable_bytes: usize,
    pub window_bytes: usize,
    pub tail_bytes: usize,
    pub batch_bytes: usize,
    pub heartbeat_ms: u64,
    pub retry_ms: u64,
    pub guard_bytes: usize,
    pub guard_ms: u64,
    pub stable_ms: u64,
}

/// Links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    /// Usual delay of a message.
    pub delay_us: u64,
    /// Usual time until a lost link is dialled again.
    pub redial_us: u64,
    /// Bytes under way in one lane at which a link is dropped for slowness.
    pub queue_bytes: usize,
}

/// Disks and what nodes do with them now and then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskPlan {
    /// Usual time of a write and its sync.
    pub sync_us: u64,
    /// How many times slower the primary's is.
    pub primary_slower: u64,
    /// Bytes of appended entries that one sync covers at most.
    pub group_bytes: usize,
    /// Usual time between two snapshots of a node; none for 0.
    pub snapshot_us: u64,
    /// Usual time between two notes of how far the log is durable.
    pub hint_us: u64,
    /// Bytes of a segment.
    pub segment_bytes: u64,
}

/// Clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// How many.
    pub clients: u64,
    /// Commands of each.
    pub ops: u64,
    /// Usual pause between two commands of a client.
    pub think_us: u64,
    /// Keys of each kind.
    pub keys: u64,
    /// Bytes of a value, at most.
    pub value_bytes: u64,
    /// Commands that only read, of 1,000.
    pub reads: u64,
    /// After this time a client stops waiting.
    pub patience_us: u64,
    /// Clients that write in sessions, of 1,000.
    #[serde(default)]
    pub sessions: u64,
    /// From the number of one write in a session to that of the next.
    #[serde(default)]
    pub stride: u64,
    /// How long a session is kept without a write. Unit: milliseconds.
    #[serde(default)]
    pub ttl_ms: u64,
}

impl Knobs {
    pub(crate) const fn limits(&self) -> Limits {
        Limits {
            unstable_bytes: self.unstable_bytes,
            window_bytes: self.window_bytes,
            tail_bytes: self.tail_bytes,
            batch_bytes: self.batch_bytes,
            heartbeat_ms: self.heartbeat_ms,
            retry_ms: self.retry_ms,
            guard_bytes: self.guard_bytes,
            guard_ms: self.guard_ms,
            stable_ms: self.stable_ms,
        }
    }
}

/// Why a plan can't be run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It is no JSON of a plan.
    #[error("the plan does not parse: {0}")]
    Json(#[from] serde_json::Error),
    /// The floor is no policy.
    #[error("the floor does not parse: {0}")]
    Floor(#[from] antiphon_proto::PolicyError),
    /// The configuration breaks its own rules.
    #[error("the configuration is refused: {0}")]
    Config(#[from] ConfigError),
    /// The planted bug is not known to this build.
    #[error("no such mutation, or a build without the feature `mutations`: {0}")]
    Mutation(String),
    /// More or fewer nodes than the simulator runs.
    #[error("a plan has from 1 to 5 nodes, not {0}")]
    Nodes(u64),
}

impl Plan {
    /// Reads a plan back.
    ///
    /// # Errors
    /// When the text is no plan, or one that can't be run.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let plan: Self = serde_json::from_str(text)?;
        plan.config()?;
        Ok(plan)
    }

    /// The text that [`Plan::parse`] reads.
    ///
    /// # Panics
    /// Never: a plan has only numbers, names and lists.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).expect("a plan is plain data")
    }

    pub(crate) fn floor(&self) -> Result<Policy, PlanError> {
        Ok(self.floor.parse()?)
    }

    /// The configuration that the operator of this cluster wrote.
    pub(crate) fn config(&self) -> Result<Config, PlanError> {
        if !(1..=5).contains(&self.nodes) {
            return Err(PlanError::Nodes(self.nodes));
        }
        let voters = (1..=self.nodes).map(|node| {
            let region = format!("r{}", node % self.regions.max(1));
            Member { node: NodeId::new(node), region }
        });
        let shape =
            if self.chain { antiphon_proto::Shape::Chain } else { antiphon_proto::Shape::Star };
        Ok(Config::initial(SHARD, voters.collect(), shape, self.floor()?)?)
    }
}
