//! A state machine to replicate, and clusters of it.

use std::io;
use std::time::Duration;

use antiphon::{Builder, Cut, Limits, MemoryNetwork, Node, Stamp, StateMachine};
use tempfile::TempDir;

/// Adds numbers up, and remembers how many.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counter {
    sum: u64,
    count: u64,
}

struct Picture(Counter);

impl Cut for Picture {
    fn write(self: Box<Self>, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(&self.0.sum.to_le_bytes())?;
        out.write_all(&self.0.count.to_le_bytes())
    }
}

impl StateMachine for Counter {
    type Command = u64;
    type Reply = u64;
    type Query = ();
    type Answer = (u64, u64);

    fn apply(&mut self, _at: Stamp, add: u64) -> u64 {
        self.sum += add;
        self.count += 1;
        self.sum
    }

    fn query(&self, (): ()) -> (u64, u64) {
        (self.sum, self.count)
    }

    fn snapshot(&self) -> Box<dyn Cut> {
        Box::new(Picture(self.clone()))
    }

    fn restore(&mut self, from: &mut dyn io::Read) -> io::Result<()> {
        let mut number = [0; 8];
        from.read_exact(&mut number)?;
        self.sum = u64::from_le_bytes(number);
        from.read_exact(&mut number)?;
        self.count = u64::from_le_bytes(number);
        Ok(())
    }

    fn digest(&self) -> [u8; 16] {
        let mut digest = [0; 16];
        digest[..8].copy_from_slice(&self.sum.to_le_bytes());
        digest[8..].copy_from_slice(&self.count.to_le_bytes());
        digest
    }
}

/// Three members over links in memory.
pub(crate) struct Three {
    pub(crate) network: MemoryNetwork,
    dirs: Vec<TempDir>,
}

impl Three {
    pub(crate) fn new() -> Self {
        let dirs = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        Self { network: MemoryNetwork::new(), dirs }
    }

    pub(crate) fn builder(&self, id: u64) -> Builder<Counter> {
        let place = usize::try_from(id).unwrap() - 1;
        let mut builder = Builder::new(Counter::default())
            .id(id)
            .cluster("test")
            .data_dir(self.dirs[place].path())
            .segment_bytes(1 << 20)
            .limits(Limits { retry_ms: 50, ..Limits::default() });
        for member in 1..=3_u64 {
            builder = builder.member(member, &member.to_string());
        }
        builder.memory(&self.network)
    }

    pub(crate) fn log_file(&self, id: u64) -> std::path::PathBuf {
        let place = usize::try_from(id).unwrap() - 1;
        self.dirs[place].path().join("log").join("0000000000000001.log")
    }

    pub(crate) async fn start(&self, id: u64) -> Node<Counter> {
        self.builder(id).start().await.unwrap()
    }

    /// Nodes 1 and 2, serving. Node 3 was there for the first start and is gone.
    pub(crate) async fn without_the_third(&self) -> (Node<Counter>, Node<Counter>) {
        let (one, two) = (self.start(1).await, self.start(2).await);
        let third = self.start(3).await;
        within("serving", one.serving()).await.unwrap();
        within("the stop", third.shutdown()).await.unwrap();
        (one, two)
    }
}

/// Fails the test instead of hanging.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}
