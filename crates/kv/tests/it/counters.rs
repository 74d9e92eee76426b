//! Counters.

use crate::kit::check;

#[test]
fn whole_numbers() {
    check(
        "INCR k => 1
         INCRBY k 10 => 11
         DECR k => 10
         DECRBY k 15 => -5
         GET k => \"-5\"
         INCRBY k abc => ERR value is not an integer or out of range
         SET k 9223372036854775807 => OK
         INCR k => ERR increment or decrement would overflow
         GET k => \"9223372036854775807\"
         SET k -9223372036854775808 => OK
         DECR k => ERR increment or decrement would overflow
         DECRBY k -9223372036854775808 => ERR decrement would overflow
         SET k 01 => OK
         INCR k => ERR value is not an integer or out of range
         SET k '' => OK
         INCR k => ERR value is not an integer or out of range",
    );
}

#[test]
fn counters_keep_their_expiry() {
    check(
        "SET k 1 EX 10 => OK
         INCR k => 2
         TTL k => 10
         INCRBYFLOAT k 0.5 => \"2.5\"
         TTL k => 10",
    );
}

#[test]
fn decimal_numbers() {
    check(
        "INCRBYFLOAT k 10.50 => \"10.5\"
         INCRBYFLOAT k 0.1 => \"10.6\"
         INCRBYFLOAT k -5 => \"5.6\"
         SET k 5.0e3 => OK
         INCRBYFLOAT k 2.0e2 => \"5200\"
         INCRBYFLOAT k abc => ERR value is not a valid float
         INCRBYFLOAT k inf => ERR increment would produce NaN or Infinity
         SET k abc => OK
         INCRBYFLOAT k 1 => ERR value is not a valid float",
    );
}
