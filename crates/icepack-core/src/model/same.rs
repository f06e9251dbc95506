//! Compares the ETags of a file. Everything that compares ETags does it here.

/// What two version tags say of two sightings under one name.
///
/// An unknown tag is evidence of nothing: neither that a file is the one that was read, nor that it
/// is another. So there is no way to ask for less than all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sameness {
    /// Both tags are known, and they are equal: the same version of the same object.
    Same,
    /// Both tags are known, and they differ: the object was written again, by whomever. A copy of
    /// the same bytes may well have another tag.
    Other,
    /// One of them is not known.
    Unknown,
}

impl Sameness {
    /// Compares the ETag that is `known` of a file with the one that was `found` under its name.
    pub fn of(known: Option<&str>, found: Option<&str>) -> Self {
        match (known.and_then(plain), found.and_then(plain)) {
            (Some(a), Some(b)) if a == b => Self::Same,
            (Some(_), Some(_)) => Self::Other,
            _ => Self::Unknown,
        }
    }

    /// Whether it is certainly the same.
    pub fn is_same(self) -> bool {
        self == Self::Same
    }

    /// Whether it is certainly another.
    pub fn is_other(self) -> bool {
        self == Self::Other
    }
}

/// A tag without what clients put around it; none where nothing is left. Some stores answer an
/// empty tag where they know none.
pub fn plain(tag: &str) -> Option<&str> {
    let tag = tag.trim_start_matches("W/").trim_matches('"');
    (!tag.is_empty()).then_some(tag)
}

/// An ETag for people.
pub fn shown(tag: Option<&str>) -> &str {
    tag.and_then(plain).unwrap_or("unknown")
}

/// How an object differs from what a manifest or a receipt says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// It is not there.
    Missing,
    /// It has this many bytes.
    Size(u64),
    /// It has another tag: copied or replaced.
    Tag,
}

/// Whether an object is there as it was written. An unknown tag contradicts nothing, and proves
/// nothing either: only its rows do.
///
/// # Errors
/// How it differs.
pub fn is_kept(
    size: u64,
    etag: Option<&str>,
    found: Option<(u64, Option<&str>)>,
) -> Result<(), Difference> {
    match found {
        None => Err(Difference::Missing),
        Some((found, _)) if found != size => Err(Difference::Size(found)),
        Some((_, found)) if Sameness::of(etag, found).is_other() => Err(Difference::Tag),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_tag_is_neither_the_same_nor_another() {
        for (known, found, expected) in [
            (Some("a"), Some("a"), Sameness::Same),
            (Some("\"a\""), Some("a"), Sameness::Same),
            (Some("W/\"a\""), Some("\"a\""), Sameness::Same),
            (Some("a"), Some("b"), Sameness::Other),
            (Some("a"), Some("a-2"), Sameness::Other),
            (Some("a"), None, Sameness::Unknown),
            (None, Some("a"), Sameness::Unknown),
            (None, None, Sameness::Unknown),
            (Some(""), Some(""), Sameness::Unknown),
            (Some("\"\""), Some("a"), Sameness::Unknown),
        ] {
            assert_eq!(Sameness::of(known, found), expected, "{known:?} {found:?}");
        }
    }
}
