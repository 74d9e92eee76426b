//! Bugs that can be planted, by name: those of the core and those of the log.

use crate::plan::{Plan, PlanError};

#[cfg(feature = "mutations")]
mod names {
    use antiphon_proto::Mutation as Core;
    use antiphon_store::Mutation as Storage;

    /// Bugs of the core that a simulated node can meet.
    fn cores() -> impl Iterator<Item = Core> {
        // A primary whose place is fixed hardly ever resigns while it lives; the core's own tests
        // show what is left behind then.
        Core::ALL.into_iter().filter(|bug| *bug != Core::SessionKeepsOverlay)
    }

    pub(super) fn core(name: &str) -> Option<Core> {
        cores().find(|bug| named(&format!("core-{bug:?}")) == name)
    }

    /// Those of the store that a running node can meet.
    pub(super) const STORAGE: [Storage; 6] = [
        Storage::AckBeforeSync,
        Storage::IgnoreFailedSync,
        Storage::SkipDirSync,
        Storage::HardStateNotSynced,
        Storage::CutOnDamage,
        Storage::ShareSectors,
    ];

    pub(super) fn storage(name: &str) -> Option<Storage> {
        STORAGE.into_iter().find(|bug| named(&format!("log-{bug:?}")) == name)
    }

    /// `AckBeforeSync` as `ack-before-sync`.
    pub(super) fn named(camel: &str) -> String {
        let mut out = String::new();
        for letter in camel.chars() {
            if letter.is_ascii_uppercase() && !out.is_empty() && !out.ends_with('-') {
                out.push('-');
            }
            out.push(letter.to_ascii_lowercase());
        }
        out
    }

    pub(super) fn all() -> Vec<String> {
        let core = cores().map(|bug| named(&format!("core-{bug:?}")));
        let storage = STORAGE.into_iter().map(|bug| named(&format!("log-{bug:?}")));
        let server = super::SERVER.into_iter().map(str::to_owned);
        core.chain(storage).chain(server).collect()
    }
}

/// Names of all bugs that can be planted; none in a build without the feature `mutations`.
#[must_use]
pub fn mutations() -> Vec<String> {
    #[cfg(feature = "mutations")]
    return names::all();
    #[cfg(not(feature = "mutations"))]
    Vec::new()
}

/// The store's part of a plan's bug.
pub(crate) fn storage(plan: &Plan) -> antiphon_store::Planted {
    #[cfg(feature = "mutations")]
    if let Some(bug) = plan.mutation.as_deref().and_then(names::storage) {
        return antiphon_store::Planted::bug(bug);
    }
    let _unplanted = &plan.mutation;
    antiphon_store::Planted::default()
}

/// Plants the core's part of a plan's bug.
#[cfg(feature = "mutations")]
pub(crate) fn core(
    plan: &Plan,
    replica: &mut antiphon_proto::Replica,
    sessions: &mut antiphon_proto::Sessions,
) {
    if let Some(bug) = plan.mutation.as_deref().and_then(names::core) {
        replica.plant(bug);
        sessions.plant(bug);
    }
}

impl Plan {
    /// Plants a bug by name.
    ///
    /// # Errors
    /// When this build has no such bug.
    pub fn plant(&mut self, name: &str) -> Result<(), PlanError> {
        if !mutations().iter().any(|known| known == name) {
            return Err(PlanError::Mutation(name.to_owned()));
        }
        self.mutation = Some(name.to_owned());
        Ok(())
    }
}

/// Bugs of the server's part, by name.
#[cfg(feature = "mutations")]
const SERVER: [&str; 2] = ["server-reply-before-policy", "server-read-unstable"];

/// Bugs of the server's part: whether replies leave before their policy is reached, and whether
/// reads leave while what they rest on is not stable.
#[cfg(feature = "mutations")]
pub(crate) fn server(plan: &Plan) -> (bool, bool) {
    let name = plan.mutation.as_deref();
    (name == Some("server-reply-before-policy"), name == Some("server-read-unstable"))
}
