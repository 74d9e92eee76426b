//! What the RESP codec costs: requests in, replies out, and replies in for clients.

use std::hint::black_box;
use std::time::Duration;

use antiphon_server::ClientLimits;
use antiphon_server::resp::reply::{self, Scanner, Value};
use antiphon_server::resp::request::{Cut, Limits, Parser};
use antiphon_server::resp::{Proto, Writer};
use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const KEY: &[u8] = b"user:1000";
const VALUE: [u8; 100] = [b'v'; 100];
const PIPELINE: usize = 16;

/// The bytes of a command, as clients send it.
fn request(words: &[&[u8]]) -> BytesMut {
    let words = words.iter().map(|word| Value::Bulk(word.to_vec()));
    let mut out = BytesMut::new();
    Value::Array(words.collect()).encode(&mut out);
    out
}

fn bytes_of(input: &[u8]) -> Throughput {
    Throughput::Bytes(u64::try_from(input.len()).expect("a short input"))
}

/// Cuts all commands of `input`, looks at each argument, and says how many commands there were.
fn cut_all(parser: &mut Parser, mut input: &[u8], limits: &Limits) -> usize {
    let mut commands = 0;
    while let Cut::Command { bytes } = parser.cut(input, limits).expect("whole commands") {
        for arg in parser.iter(input) {
            black_box(arg);
        }
        input = input.get(bytes..).unwrap_or_default();
        commands += 1;
    }
    commands
}

fn requests(c: &mut Criterion) {
    let bulk_bytes_max = ClientLimits::default().bulk_bytes_max;
    let limits = Limits { bulk_bytes_max, authenticated: true };
    let get = request(&[b"GET", KEY]);
    let set = request(&[b"SET", KEY, &VALUE]);
    let pipeline = set.repeat(PIPELINE);
    let mut group = c.benchmark_group("request parse");
    for (name, input, commands) in [
        ("GET", get.as_ref(), 1),
        ("SET 100 bytes", set.as_ref(), 1),
        ("16 SET 100 bytes", pipeline.as_slice(), PIPELINE),
    ] {
        let mut parser = Parser::default();
        assert_eq!(cut_all(&mut parser, input, &limits), commands, "all of {name} is cut");
        group.throughput(bytes_of(input));
        group.bench_function(name, |b| {
            b.iter(|| cut_all(&mut parser, black_box(input), &limits));
        });
    }
    group.finish();
}

/// Writes the replies of one case.
type Reply = fn(&mut Writer<'_>);

fn reply_encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("reply encode");
    let mut out = BytesMut::with_capacity(1 << 12);
    let writers: [(&str, Reply); 4] = [
        ("OK", |writer| writer.ok()),
        ("integer", |writer| writer.int(black_box(1_234_567))),
        ("bulk 100 bytes", |writer| writer.bulk(black_box(&VALUE))),
        ("16 bulks of 100 bytes", |writer| {
            (0..PIPELINE).for_each(|_| writer.bulk(black_box(&VALUE)));
        }),
    ];
    for (name, write) in writers {
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                write(&mut Writer::new(&mut out, Proto::Two));
                black_box(out.len())
            });
        });
    }
    group.finish();
}

/// Reads all replies of `input` as a client does, and says how many there were.
fn read_all(mut input: &[u8]) -> usize {
    let mut scanner = Scanner::default();
    let mut replies = 0;
    while let Some(bytes) = scanner.scan(input).expect("whole replies") {
        let (whole, rest) = input.split_at(bytes);
        black_box(reply::parse(whole).expect("a whole reply"));
        input = rest;
        replies += 1;
    }
    replies
}

fn reply_parse(c: &mut Criterion) {
    let mut bulk = BytesMut::new();
    Writer::new(&mut bulk, Proto::Two).bulk(&VALUE);
    let pipeline = bulk.repeat(PIPELINE);
    let mut group = c.benchmark_group("reply parse");
    for (name, input, replies) in [
        ("OK", b"+OK\r\n".as_slice(), 1),
        ("bulk 100 bytes", bulk.as_ref(), 1),
        ("16 bulks of 100 bytes", pipeline.as_slice(), PIPELINE),
    ] {
        assert_eq!(read_all(input), replies, "all of {name} is read");
        group.throughput(bytes_of(input));
        group.bench_function(name, |b| b.iter(|| read_all(black_box(input))));
    }
    group.finish();
}

/// Short, since nothing here varies much.
fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = benches;
    config = short();
    targets = requests, reply_encode, reply_parse
}
criterion_main!(benches);
