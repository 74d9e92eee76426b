//! Prints what a key of 16 bytes with a value of 100 bytes takes: memory at rest, and time to
//! write it, to apply it, and to read it back. Argument: the number of keys, a million if none.
#![expect(clippy::print_stdout, reason = "an example answers on stdout")]

use std::time::{Duration, Instant};

use antiphon_kv::{Command, Context, Db, Engine, Limits, Pending, ReplySink};
use antiphon_proto::{Hlc, Lsn};
use bytes::BytesMut;

/// Counts the bytes of replies and forgets them.
#[derive(Default)]
struct Count(usize);

impl ReplySink for Count {
    fn simple(&mut self, text: &str) {
        self.0 += text.len();
    }
    fn error(&mut self, text: &str) {
        self.0 += text.len();
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
    fn null(&mut self) {}
    fn null_array(&mut self) {}
    fn int(&mut self, _number: i64) {}
    fn double(&mut self, _number: f64) {}
    fn boolean(&mut self, _yes: bool) {}
    fn verbatim(&mut self, _format: &str, text: &[u8]) {
        self.0 += text.len();
    }
    fn array(&mut self, _len: usize) {}
    fn map(&mut self, _len: usize) {}
    fn set(&mut self, _len: usize) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keys: u32 = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let (set, get) = (Command::find(b"set"), Command::find(b"get"));
    let (Some(set), Some(get)) = (set, get) else { return Err("the table lacks a command".into()) };
    let mut engine = Engine::new(1, Limits::default());
    let (mut pending, mut frame) = (Pending::new(), BytesMut::new());
    let (mut random, mut out) = (|| 7, Count::default());
    let value = [b'v'; 100];
    let (mut writing, mut applying) = (Duration::ZERO, Duration::ZERO);
    let before = resident_bytes()?;
    for number in 0..keys {
        let key = format!("key:{number:012}");
        let started = Instant::now();
        let pending = &mut pending;
        let mut context = Context { db: Db::default(), now_ms: 1, random: &mut random, pending };
        engine.execute(&mut context, set, &[b"set", key.as_bytes(), &value], &mut out);
        frame.clear();
        pending.write(&mut frame);
        let lsn = Lsn::new(u64::from(number) + 1);
        engine.commit(lsn, pending);
        let proposed = Instant::now();
        engine.apply(lsn, Hlc::from_ms(1), &frame)?;
        writing += proposed - started;
        applying += proposed.elapsed();
    }
    let taken = resident_bytes()?.saturating_sub(before);
    let mut reading = Duration::ZERO;
    for number in 0..keys {
        let key = format!("key:{:012}", u64::from(number) * 7_919 % u64::from(keys));
        let started = Instant::now();
        let pending = &mut pending;
        let mut context = Context { db: Db::default(), now_ms: 1, random: &mut random, pending };
        engine.execute(&mut context, get, &[b"get", key.as_bytes()], &mut out);
        reading += started.elapsed();
    }
    let started = Instant::now();
    let cut = engine.cut();
    let cutting = started.elapsed();
    let each = |time: Duration| time / keys;
    println!("keys {keys}, resident {} B a key", taken / u64::from(keys));
    println!("engine's own estimate {} B a key", engine.memory_bytes() as u64 / u64::from(keys));
    println!("SET {:?}, apply {:?}, GET {:?}", each(writing), each(applying), each(reading));
    println!("cut in {cutting:?}, at {}; {} reply bytes", cut.applied(), out.0);
    Ok(())
}

/// Memory of this process that is resident, on Linux.
fn resident_bytes() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}
