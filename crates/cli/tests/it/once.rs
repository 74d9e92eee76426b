//! Counters are exact although everybody who gets no answer sends again: in sessions each write
//! executes once, whoever is killed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::kit::{Client, Cluster, Reply, until};

/// Writers beside each other, each in a session of its own.
const WRITERS: u16 = 4;
/// Writes of each. Every fourth is a transaction.
const WRITES: u64 = 150;
/// Nodes are killed at least so often while they write.
const KILLS_MIN: u32 = 4;

/// What a writer has to say when all of its writes were answered.
#[derive(Debug, Default)]
struct Told {
    totals: Vec<i64>, // what `INCR total` answered
    again: u64,       // writes that were sent more than once
}

struct Writer {
    ports: Vec<u16>,
    turn: usize,
    client: Option<Client>,
    session: String,
    told: Told,
}

impl Writer {
    /// Opens a session, wherever somebody answers.
    fn new(ports: &[u16], turn: u16) -> Self {
        let ports = ports.to_vec();
        let mut writer = Self {
            ports,
            turn: turn.into(),
            client: None,
            session: String::new(),
            told: Told::default(),
        };
        let opened = writer.until_answered(|client| client.try_call(&["XSESSION", "OPEN"]));
        writer.session = opened.text();
        assert_eq!(writer.session.len(), 32, "{opened:?}");
        writer.client = None;
        writer
    }

    /// Asks one node after the other until the answer is definite.
    fn until_answered(&mut self, ask: impl Fn(&mut Client) -> io::Result<Reply>) -> Reply {
        let mut attempts = 0;
        let reply = until("a definite answer", || {
            attempts += 1;
            let answer = self.connected().and_then(&ask);
            if let Ok(reply) = answer
                && !is_passing(&reply)
            {
                return Some(reply);
            }
            self.client = None;
            self.turn += 1;
            None
        });
        self.told.again += u64::from(attempts > 1);
        reply
    }

    fn connected(&mut self) -> io::Result<&mut Client> {
        if self.client.is_none() {
            let port = *self.ports.get(self.turn % self.ports.len()).expect("within");
            let mut client = Client::try_connect(port)?;
            if !self.session.is_empty() {
                let used = client.try_call(&["XSESSION", "USE", &self.session])?;
                assert!(used.is_ok(), "{used:?}");
            }
            self.client = Some(client);
        }
        Ok(self.client.as_mut().expect("it was just made"))
    }

    fn write(&mut self, number: u64) {
        let seq = number.to_string();
        if !number.is_multiple_of(4) {
            let reply =
                self.until_answered(|client| client.try_call(&["XSEQ", &seq, "INCR", "total"]));
            return self.count(&reply);
        }
        let reply = self.until_answered(|client| {
            for words in [&["MULTI"][..], &["INCR", "total"], &["INCR", "pairs"]] {
                client.try_call(words)?;
            }
            client.try_call(&["XSEQ", &seq, "EXEC"])
        });
        let Reply::Array(items) = &reply else { panic!("EXEC: {reply:?}") };
        assert_eq!(items.len(), 2, "{reply:?}");
        self.count(items.first().expect("two"));
    }

    fn count(&mut self, reply: &Reply) {
        let Reply::Int(total) = reply else { panic!("INCR: {reply:?}") };
        self.told.totals.push(*total);
    }
}

/// Whether the same is to be asked again: nothing happened, or nobody knows.
fn is_passing(reply: &Reply) -> bool {
    ["XUNKNOWN", "MASTERDOWN", "NOREPLICAS", "LOADING", "TRYAGAIN", "EXECABORT"]
        .iter()
        .any(|word| reply.is_error(word))
}

fn start(ports: &[u16], done: &Arc<AtomicU64>) -> Vec<JoinHandle<Told>> {
    let writer = |turn| {
        let (ports, done) = (ports.to_vec(), Arc::clone(done));
        std::thread::spawn(move || {
            let mut writer = Writer::new(&ports, turn);
            for number in 1..=WRITES {
                writer.write(number);
                done.fetch_add(1, Ordering::Relaxed);
            }
            writer.told
        })
    };
    (0..WRITERS).map(writer).collect()
}

/// Kills the primary and now and then a replica too, until all writes were answered.
fn check(settings: &[&str]) {
    let settings: Vec<&str> = settings.iter().chain(&["resp.policy_timeout=1s"]).copied().collect();
    let mut cluster = Cluster::start(3, &settings);
    let ports: Vec<u16> = cluster.all().map(|node| cluster.resp(node)).collect();
    let done = Arc::new(AtomicU64::new(0));
    let writers = start(&ports, &done);
    let all = u64::from(WRITERS) * WRITES;
    let mut kills = 0;
    while writers.iter().any(|writer| !writer.is_finished()) || kills < KILLS_MIN {
        let victims: &[u16] = if kills % 3 == 2 { &[1, 2] } else { &[1] };
        for victim in victims {
            cluster.kill(*victim);
        }
        kills += 1;
        for victim in victims {
            cluster.launch(*victim);
        }
        let more = (done.load(Ordering::Relaxed) + all / 10).min(all);
        until("writes to be answered again", || {
            (done.load(Ordering::Relaxed) >= more).then_some(())
        });
    }
    let told: Vec<Told> = writers.into_iter().map(|w| w.join().expect("all answered")).collect();
    let again: u64 = told.iter().map(|told| told.again).sum();
    println!("{kills} kills, {again} writes sent more than once");
    assert!(again > 0, "without retries nothing was shown");
    let mut totals: Vec<i64> = told.into_iter().flat_map(|told| told.totals).collect();
    totals.sort_unstable();
    let want: Vec<i64> = (1..=i64::try_from(all).expect("small")).collect();
    assert_eq!(totals, want, "each write counted once, and each was told so");
    cluster.serves();
    cluster.level();
    for node in cluster.all() {
        let mut client = cluster.client(node);
        assert_eq!(client.get("total"), Some(all.to_string()), "node {node}");
        assert_eq!(client.get("pairs"), Some((u64::from(WRITERS) * (WRITES / 4)).to_string()));
    }
}

#[test]
fn counters_are_exact_while_nodes_are_killed() {
    check(&[]);
}

#[test]
fn counters_are_exact_while_nodes_restart_from_snapshots() {
    check(&["cluster.shape=chain", "log.snapshot_entries=50"]);
}

#[test]
fn sessions_are_bounded_and_expired_ones_make_room() {
    let mut cluster = Cluster::start(1, &["resp.max_sessions=2"]);
    let mut client = cluster.client(1);
    let brief = client.call(&["XSESSION", "OPEN", "TTL", "500"]).text();
    let kept = client.call(&["XSESSION", "OPEN"]).text();
    let full = client.call(&["XSESSION", "OPEN"]);
    assert!(full.is_error("TRYAGAIN too many sessions"), "{full:?}");
    let mut another = String::new();
    until("the first to expire", || {
        another = client.call(&["XSESSION", "OPEN"]).text();
        (another.len() == 32).then_some(())
    });
    assert!(client.call(&["XSESSION", "USE", &brief]).is_ok());
    let refused = client.call(&["XSEQ", "1", "INCR", "k"]);
    assert!(refused.is_error("XNOSESSION"), "{refused:?}");
    assert!(client.call(&["XSESSION", "USE", &kept]).is_ok());
    assert_eq!(client.call(&["XSEQ", "1", "INCR", "k"]), Reply::Int(1));
    // What was open and what had expired is as it was after a restart.
    cluster.kill(1);
    cluster.launch(1);
    cluster.serves();
    let mut client = cluster.client(1);
    assert!(client.call(&["XSESSION", "USE", &brief]).is_ok());
    assert!(client.call(&["XSEQ", "1", "INCR", "k"]).is_error("XNOSESSION"));
    assert!(client.call(&["XSESSION", "USE", &kept]).is_ok());
    assert_eq!(client.call(&["XSEQ", "1", "INCR", "k"]), Reply::Int(1));
    assert_eq!(client.get("k").as_deref(), Some("1"));
}
