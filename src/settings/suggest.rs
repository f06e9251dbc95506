//! "Did you mean".

/// Below this two names have too little in common to be a slip of the fingers.
const ALIKE: f64 = 0.6;

/// The known name that is most like `given`.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    let scored = known.into_iter().map(|name| {
        (
            strsim::normalized_damerau_levenshtein(&given, &name.to_ascii_lowercase()),
            name,
        )
    });
    scored
        .filter(|(score, _)| *score >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// `did you mean X?`, or the names that there are.
pub fn hint(given: &str, known: &[&str]) -> String {
    match nearest(given, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["target_file_size", "max_file_size", "strategy"];
        assert_eq!(nearest("target_file_sise", known), Some("target_file_size"));
        assert_eq!(nearest("stratgey", known), Some("strategy"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(hint("colour", &["a", "b"]), "known here: a, b");
    }
}
