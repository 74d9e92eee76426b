//! What stands behind the question mark of a page's address.

use std::time::Duration;

/// Names and values, in order. Nothing is unescaped: no name or value of ours needs it.
pub(super) fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let each = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    each.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A time such as `500ms`, `1s` or `2m`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at_checked(digits)?;
    let count: u64 = count.parse().ok()?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return None,
    };
    count.checked_mul(ms).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_times() {
        let found: Vec<_> = pairs(Some("a=1&&b&c=x=y")).collect();
        assert_eq!(found, [("a", "1"), ("b", ""), ("c", "x=y")]);
        assert_eq!(pairs(None).count(), 0);
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("1s"), Some(Duration::from_secs(1)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        for none in
            ["", "s", "1", "1.5s", "-1s", "1h", "99999999999999999999s", "999999999999999999m"]
        {
            assert_eq!(duration(none), None, "{none}");
        }
    }
}
