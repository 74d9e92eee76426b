//! Strings.

use crate::kit::check;

#[test]
fn get_and_set() {
    check(
        "GET k => (nil)
         SET k v => OK
         GET k => \"v\"
         set k w => OK
         gEt k => \"w\"
         SET '' '' => OK
         GET '' => \"\"
         STRLEN k => 1
         STRLEN none => 0",
    );
}

#[test]
fn set_with_conditions() {
    check(
        "SET k v XX => (nil)
         SET k v NX => OK
         SET k w NX => (nil)
         SET k w NX GET => \"v\"
         SET k w XX GET => \"v\"
         SET k x GET => \"w\"
         SET new x GET => (nil)
         GET new => \"x\"
         SET k y IFEQ z => (nil)
         SET k y IFEQ x => OK
         SET k z IFNE y => (nil)
         SET k z IFNE x => OK
         SET k a IFEQ no GET => \"z\"
         SET none a IFEQ x => (nil)
         SET none a IFNE x => OK
         SET k v NX XX => ERR syntax error
         SET k v IFEQ a IFNE b => ERR syntax error
         SET k v IFEQ => ERR syntax error
         SET k v what => ERR syntax error
         SET k => ERR wrong number of arguments for 'set' command",
    );
}

#[test]
fn set_with_expiry() {
    check(
        "SET k v EX 10 => OK
         TTL k => 10
         PTTL k => 10000
         SET k v KEEPTTL => OK
         PTTL k => 10000
         SET k v => OK
         TTL k => -1
         SET k v PX 1500 => OK
         TTL k => 2
         SET k v EXAT 2000 => OK
         EXPIRETIME k => 2000
         SET k v PXAT 1000001 => OK
         PEXPIRETIME k => 1000001
         GET k => \"v\"
         at 1
         GET k => (nil)
         SET k v PXAT 1000001 => OK
         GET k => (nil)
         SET k v => OK
         SET k v EXAT 1 => OK
         EXISTS k => 0
         SET k v EX 0 => ERR invalid expire time in 'set' command
         SET k v EX -1 => ERR invalid expire time in 'set' command
         SET k v EX 9223372036854775807 => ERR invalid expire time in 'set' command
         SET k v PX 9223372036854775807 => ERR invalid expire time in 'set' command
         SET k v EX abc => ERR value is not an integer or out of range
         SET k v EX => ERR syntax error
         SET k v EX 1 PX 1 => ERR syntax error
         SET k v EX 1 KEEPTTL => ERR syntax error
         SET k v PERSIST => ERR syntax error",
    );
}

#[test]
fn the_other_ways_to_set() {
    check(
        "SETNX k v => 1
         SETNX k w => 0
         SETEX k 5 x => OK
         TTL k => 5
         PSETEX k 700 x => OK
         PTTL k => 700
         SETEX k 0 x => ERR invalid expire time in 'setex' command
         PSETEX k -5 x => ERR invalid expire time in 'psetex' command
         GETSET k y => \"x\"
         TTL k => -1
         GETSET new y => (nil)
         MSET a 1 b 2 a 3 => OK
         MGET a b c => *3 \"3\" \"2\" (nil)
         MSET a 1 b => ERR wrong number of arguments for 'mset' command
         MSETNX c 1 a 2 => 0
         EXISTS c => 0
         MSETNX c 1 d 2 => 1
         MSETNX c 1 d => ERR wrong number of arguments for 'msetnx' command",
    );
}

#[test]
fn reading_that_changes() {
    check(
        "GETDEL k => (nil)
         SET k v => OK
         GETDEL k => \"v\"
         EXISTS k => 0
         GETEX k EX 5 => (nil)
         SET k v => OK
         GETEX k => \"v\"
         TTL k => -1
         GETEX k EX 5 => \"v\"
         TTL k => 5
         GETEX k PERSIST => \"v\"
         TTL k => -1
         GETEX k EX 5 PERSIST => ERR syntax error
         GETEX k KEEPTTL => ERR syntax error
         GETEX k PX 0 => ERR invalid expire time in 'getex' command
         GETEX k EXAT 1 => \"v\"
         EXISTS k => 0",
    );
}

#[test]
fn parts() {
    check(
        "APPEND k Hello => 5
         APPEND k '' => 5
         APPEND k World => 10
         APPEND e '' => 0
         EXISTS e => 1
         GETRANGE k 0 4 => \"Hello\"
         GETRANGE k -5 -1 => \"World\"
         GETRANGE k 0 -1 => \"HelloWorld\"
         GETRANGE k 7 100 => \"rld\"
         GETRANGE k 5 2 => \"\"
         GETRANGE k -1 -5 => \"\"
         GETRANGE k -100 1 => \"He\"
         GETRANGE k 100 200 => \"\"
         GETRANGE none 0 -1 => \"\"
         GETRANGE k a 1 => ERR value is not an integer or out of range
         GETRANGE k -9223372036854775808 9223372036854775807 => \"HelloWorld\"
         SUBSTR k 1 2 => \"el\"
         SETRANGE k 5 xyz => 10
         GET k => \"Helloxyzld\"
         SETRANGE k 12 a => 13
         GET k => \"Helloxyzld\\x00\\x00a\"
         SETRANGE none 3 '' => 0
         EXISTS none => 0
         SETRANGE k 0 '' => 13
         SETRANGE k -1 a => ERR offset is out of range
         SETRANGE new 2 a => 3
         GET new => \"\\x00\\x00a\"",
    );
}

#[test]
fn parts_keep_the_expiry() {
    check(
        "SET k v EX 10 => OK
         APPEND k w => 2
         TTL k => 10
         SETRANGE k 1 x => 2
         TTL k => 10",
    );
}

#[test]
fn deletion_under_a_condition() {
    check(
        "DELIFEQ k v => 0
         SET k v => OK
         DELIFEQ k w => 0
         DELIFEQ k v => 1
         SET k v => OK
         DELEX k IFEQ w => 0
         DELEX k IFNE v => 0
         DELEX k IFNE w => 1
         DELEX k => 0
         SET k v => OK
         DELEX k => 1
         SET k '' => OK
         DIGEST k => \"2d06800538d394c2\"
         DELEX k IFDEQ 0000000000000000 => 0
         DELEX k IFDNE 2d06800538d394c2 => 0
         DELEX k IFDEQ 2D06800538D394C2 => 1
         DIGEST k => (nil)
         DELEX k IFWHAT x => ERR syntax error",
    );
}

#[test]
fn longest_common_subsequence() {
    check(
        "MSET a ohmytext b mynewtext => OK
         LCS a b => \"mytext\"
         LCS a b LEN => 6
         LCS a none => \"\"
         LCS a b IDX => %2 \"matches\" *2 *2 *2 4 7 *2 5 8 *2 *2 2 3 *2 0 1 \"len\" 6
         LCS a b IDX MINMATCHLEN 4 => %2 \"matches\" *1 *2 *2 4 7 *2 5 8 \"len\" 6
         LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN => \
         %2 \"matches\" *1 *3 *2 4 7 *2 5 8 4 \"len\" 6
         LCS a b LEN IDX => \
         ERR If you want both the length and indexes, please just use IDX.
         LCS a b what => ERR syntax error",
    );
}
