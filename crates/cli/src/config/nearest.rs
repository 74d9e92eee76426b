//! The nearest known word, for a hint beside an error.

use strsim::osa_distance;

/// The one of `known` that is nearest to `word`, if any is near enough to be meant.
///
/// Near enough is a third of the word's letters changed, added, left out or swapped.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    let far = known.into_iter().map(|candidate| (osa_distance(word, candidate), candidate));
    far.filter(|&(far, _)| far <= limit).min_by_key(|&(far, _)| far).map(|(_, near)| near)
}

#[cfg(test)]
mod tests {
    //! What is near enough to be meant.

    use super::*;

    #[test]
    fn only_a_near_word_is_offered() {
        let known = ["listen", "password_file", "tls_cert"];
        assert_eq!(nearest("lissten", known), Some("listen"));
        assert_eq!(nearest("tls_crt", known), Some("tls_cert"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("lgo", ["log", "http"]), Some("log"));
    }
}
