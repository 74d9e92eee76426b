//! The library's own tests of a log and a state, over ours.

use antiphon_proto::NodeId;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use redb::Database;
use redb::backends::InMemoryBackend;

use crate::raft::state::State;
use crate::raft::storage::LogStore;
use crate::raft::types::Types;

struct Stores;

impl StoreBuilder<Types, LogStore, State> for Stores {
    async fn build(&self) -> Result<((), LogStore, State), StorageError<Types>> {
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        let database = database.expect("memory");
        // The writer ends with the store.
        let (log, _writer) = LogStore::open(database, NodeId::new(1)).expect("a new file");
        Ok(((), log.clone(), State::new(log)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_and_the_state_keep_the_librarys_rules() {
    Suite::test_all(Stores).await.expect("all of them hold");
}
