//! Requests are what a server expects, and values tell whose they are.

use super::*;

fn load(key_bytes: u32, value_bytes: u32) -> Load {
    Load {
        clients: 1,
        pipeline: 1,
        threads: 1,
        key_bytes,
        value_bytes,
        keys: 1_000,
        read_share: 0.0,
        policy: None,
        wait: Some(2),
        rate: None,
        verify: true,
    }
}

#[test]
fn requests_are_laid_out_as_the_protocol_says() {
    let requests = Requests::new(&load(4, 3), 1, 500);
    let mut out = Vec::new();
    requests.set(&mut out, 42, 0);
    requests.get(&mut out, 0);
    requests.wait(&mut out);
    let text = String::from_utf8_lossy(&out);
    // The three bytes of the value are the low bytes of its name: sequence 0.
    assert_eq!(
        text,
        "*3\r\n$3\r\nSET\r\n$4\r\n0042\r\n$3\r\n\0\0\0\r\n\
         *2\r\n$3\r\nGET\r\n$4\r\n0000\r\n*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$3\r\n500\r\n"
    );
}

#[test]
fn a_long_key_says_that_it_is_one() {
    let requests = Requests::new(&load(16, 3), 1, 0);
    let mut out = Vec::new();
    requests.get(&mut out, u32::MAX);
    assert!(out.ends_with(b"$16\r\nkey:004294967295\r\n"), "{}", String::from_utf8_lossy(&out));
}

#[test]
fn a_value_names_its_write_and_differs_from_all_others() {
    let values = Requests::new(&load(16, 100), 9, 0).values();
    let value = |key, sequence| {
        let mut out = Vec::new();
        values.append(&mut out, key, sequence);
        out
    };
    assert_eq!(value(7, 3).len(), 100);
    assert_eq!(value(7, 3), value(7, 3));
    assert_ne!(value(7, 3)[8..], value(7, 4)[8..]);
    assert_ne!(value(7, 3)[8..], value(8, 3)[8..]);
    assert_eq!(values.named_sequence(&value(7, 3), 7), Some(3));
    assert_eq!(values.named_sequence(&value(7, 3), 8), None);
    assert_eq!(values.named_sequence(b"short", 7), None);
}

#[test]
fn fewest_key_bytes() {
    for (keys, bytes) in [(1, 1), (2, 1), (10, 1), (11, 2), (100, 2), (101, 3), (u32::MAX, 10)] {
        assert_eq!(key_bytes_min(keys), bytes, "{keys} keys");
    }
}

#[test]
fn random_numbers_reach_every_place_below_their_bound() {
    let mut random = Random::new(5);
    let mut seen = [0_u32; 10];
    for _ in 0..1_000 {
        let at = usize::try_from(random.below(10)).expect("small");
        seen[at] += 1;
    }
    assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
}
