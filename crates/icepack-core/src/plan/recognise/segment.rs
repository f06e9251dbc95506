//! Guesses what the name of a folder is: a date, a `key=value` pair, or the owner of the rows.

use crate::model::partition;

/// Names that writers give to the owner of rows, the likeliest first: lower case, letters only.
const OWNERS: [&str; 27] = [
    "tenant",
    "tenantid",
    "tenantname",
    "customer",
    "customerid",
    "org",
    "orgid",
    "organization",
    "organizationid",
    "organisation",
    "organisationid",
    "client",
    "clientid",
    "company",
    "companyid",
    "account",
    "accountid",
    "awsaccountid",
    "workspace",
    "workspaceid",
    "merchantid",
    "project",
    "projectid",
    "application",
    "applicationid",
    "app",
    "appid",
];

/// Those of them that mean the owner whatever folders stand above.
const SURE: usize = 5;

/// How likely the key of a `key=value` folder names the owner of rows: 0 is the likeliest.
pub(super) fn owner(key: &str) -> Option<usize> {
    let letters: String = key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    OWNERS.iter().position(|name| *name == letters)
}

/// Whether an owner of this rank is one below folders of free names too.
pub(super) fn is_sure(rank: usize) -> bool {
    rank < SURE
}

/// What a folder is called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `key=value`
    Value,
    /// A date, or a part of one.
    Date,
    /// The number of an AWS account.
    Account,
    Free,
}

impl Kind {
    /// Of `name`, in a folder that is a date itself or is not: a month is a number of two digits,
    /// and so is much else.
    pub(super) fn of(name: &str, in_date: bool) -> Self {
        let is_number = |len: usize| name.len() == len && name.bytes().all(|b| b.is_ascii_digit());
        if partition::split(name).is_some() {
            Self::Value
        } else if is_date(name) || in_date && (is_number(1) || is_number(2)) {
            Self::Date
        } else if is_number(12) {
            Self::Account
        } else {
            Self::Free
        }
    }
}

/// `2026`, `202610`, `20261001`, `2026100113`, `2026-10`, `2026_10_01`, `2026-10-01T13`.
fn is_date(name: &str) -> bool {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let within = |text: &str, from, to| {
        !text.is_empty()
            && number(text)
            && text.parse::<u32>().is_ok_and(|n| (from..=to).contains(&n))
    };
    let parts: Vec<&str> = name.split(['-', '_', 'T', ':']).collect();
    let is_part = |text: &&str| (1..=2).contains(&text.len()) && within(text, 0, 59);
    match parts.as_slice() {
        [one] if number(one) => match (one.len(), one.get(..4), one.get(4..)) {
            (4, Some(year), _) => within(year, 1990, 2100),
            (6 | 8 | 10, Some(year), Some(rest)) => {
                let month = rest.get(..2).unwrap_or_default();
                let day = rest.get(2..4).unwrap_or("1");
                within(year, 1990, 2100)
                    && within(month, 1, 12)
                    && (day.is_empty() || within(day, 1, 31))
            }
            _ => false,
        },
        [year, rest @ ..] if !rest.is_empty() && rest.len() <= 5 => {
            year.len() == 4 && within(year, 1990, 2100) && rest.iter().all(is_part)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_known_by_their_form() {
        for name in [
            "2026",
            "202610",
            "20261001",
            "2026100113",
            "2026-10",
            "2026_10_01",
            "2026-10-01T13",
            "2026-1-1",
        ] {
            assert_eq!(Kind::of(name, false), Kind::Date, "{name}");
        }
        for name in [
            "1026", "2026-", "2026-1x", "2026-99", "20261301", "20261032", "acme", "20", "v2026",
            "",
        ] {
            assert_eq!(Kind::of(name, false), Kind::Free, "{name}");
        }
        assert_eq!(
            [("07", true), ("7", true), ("071", true)]
                .map(|(name, in_date)| Kind::of(name, in_date)),
            [Kind::Date, Kind::Date, Kind::Free]
        );
        assert_eq!(
            ["dt=2026-10-01", "=x", "123456789012"].map(|name| Kind::of(name, false)),
            [Kind::Value, Kind::Free, Kind::Account]
        );
    }

    #[test]
    fn owners_are_known_however_they_are_spelled() {
        for key in ["tenant", "tenant_id", "Tenant-ID", "customerId"] {
            assert!(owner(key).is_some_and(is_sure), "{key}");
        }
        for key in ["accountId", "aws-account-id", "application_id"] {
            assert!(owner(key).is_some_and(|rank| !is_sure(rank)), "{key}");
        }
        for key in ["dt", "region", "country", "ten", ""] {
            assert_eq!(owner(key), None, "{key}");
        }
    }
}
