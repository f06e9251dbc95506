//! Texts that several reports share.

pub use crate::format::{about, count, minute, plural, row_time, second, size, took};

/// The line in place of an empty table. `wanted` are the tenants asked for.
pub fn no_tenants(wanted: &[String]) -> String {
    if wanted.is_empty() {
        "no tenants: a tenant is a folder with Parquet files right below the store".to_owned()
    } else {
        format!(
            "no tenant matches {}: `icepack status` lists them",
            wanted.join(" or ")
        )
    }
}

/// `3 get, 1 list`: what there is any of.
pub fn counted(kinds: &[(&str, u64)]) -> String {
    let parts: Vec<String> = kinds
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(kind, n)| format!("{} {kind}", count(*n)))
        .collect();
    parts.join(", ")
}

/// Zero is shown as nothing, where a column is about what is unusual.
pub fn unless_zero(n: u64) -> String {
    if n == 0 { String::new() } else { count(n) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_left_out() {
        assert_eq!([0, 1_000].map(unless_zero), ["", "1,000"]);
    }
}
