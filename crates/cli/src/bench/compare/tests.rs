//! What is a regression, what is noise, and what cannot be compared.

use super::*;
use crate::bench::report::tests::example;

#[track_caller]
fn check(change: impl Fn(&mut Report), want: &[&str]) {
    let mut now = example();
    change(&mut now);
    let comparison = compare(&now, &example(), 0.1).expect("the same load");
    assert_eq!(comparison.regressions, want, "{}", comparison.text);
}

#[test]
fn only_a_change_for_the_worse_beyond_the_tolerance_is_a_regression() {
    check(|_| (), &[]);
    check(|now| now.throughput *= 0.91, &[]);
    check(|now| now.throughput *= 0.89, &["throughput"]);
    check(|now| now.throughput *= 2.0, &[]);
    check(|now| now.latency.p50_us *= 1.2, &["p50"]);
    check(|now| now.latency.p99_us *= 1.2, &["p99"]);
    check(|now| now.latency.p99_us *= 0.5, &[]);
    check(|now| now.latency.p999_us *= 9.0, &[]);
}

#[test]
fn runs_of_different_loads_are_not_compared() {
    let mut now = example();
    now.load.clients += 1;
    let error = compare(&now, &example(), 0.1).expect_err("another load");
    assert!(error.to_string().contains("different loads"), "{error}");
}

#[test]
fn each_figure_has_a_line() {
    let mut now = example();
    now.throughput /= 2.0;
    let text = compare(&now, &example(), 0.1).expect("the same load").text;
    assert!(text.starts_with("throughput  123,456 -> 61,728 (-50.0 %)  worse\n"), "{text}");
    assert_eq!(text.lines().count(), 4);
}
