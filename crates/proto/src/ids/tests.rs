//! Texts and orders of the numbers.

use super::*;

#[test]
fn a_token_reads_back_what_it_prints() {
    let token =
        Token { shard: ShardId::new(7), entry: EntryId::new(Epoch::new(3), Lsn::new(u64::MAX)) };
    assert_eq!(token.to_string().parse(), Ok(token));
}

#[test]
fn a_text_that_is_no_token_is_refused() {
    for text in ["", "1", "1-2", "1-2-3-4", "a-1-2", "1--2", "1-+2-3", "4294967296-1-1", " 1-2-3"] {
        assert_eq!(text.parse::<Token>(), Err(TokenError), "{text:?}");
    }
}

#[test]
fn the_longer_log_has_the_later_epoch_first() {
    let id = |epoch, lsn| EntryId::new(Epoch::new(epoch), Lsn::new(lsn));
    assert!(id(2, 5) > id(1, 9));
    assert!(id(2, 6) > id(2, 5));
}

#[test]
fn hybrid_time_grows_when_the_wall_clock_does_not() {
    let first = Hlc::ZERO.tick(1_000);
    let second = first.tick(1_000);
    let third = second.tick(999);
    assert!(first < second && second < third);
    assert_eq!(third.ms(), 1_000);
    assert_eq!(third.tick(2_000), Hlc::from_ms(2_000));
}

#[test]
fn positions_count_entries() {
    assert_eq!(Lsn::new(9).since(Lsn::new(4)), 5);
    assert_eq!(Lsn::new(4).since(Lsn::new(9)), 0);
    assert_eq!(Lsn::ZERO.prev(), Lsn::ZERO);
    assert_eq!(Lsn::new(4).plus(2).prev(), Lsn::new(5));
}
