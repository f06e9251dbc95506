//! A part of the work: shard `index` of `count`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// More than any job has pods, and few enough to be hashed one by one.
const MOST: u32 = 10_000;

/// Which part of the tenants a run takes; the whole by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shard {
    /// From 0.
    pub index: u32,
    /// At least 1.
    pub count: u32,
}

impl Shard {
    /// The only shard, which has all the work.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Shard `index` of `count`.
    ///
    /// # Errors
    /// Why there is no such shard, as the end of a sentence.
    pub fn new(index: u32, count: u32) -> Result<Self, String> {
        match count {
            0 => Err("there must be at least one shard".to_owned()),
            _ if count > MOST => Err(format!("{count} shards are too many: {MOST} are the most")),
            _ if index >= count => Err(format!(
                "shards are counted from 0, so the last of {count} is {}",
                count - 1
            )),
            _ => Ok(Self { index, count }),
        }
    }

    /// Whether there is more than one shard.
    pub fn is_part(self) -> bool {
        self.count > 1
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    /// `2/8`: the third of eight.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('/')
            .and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let (index, count) =
            parts.ok_or_else(|| format!("`{text}` is not a shard: use i/n, from 0/n"))?;
        Self::new(index, count).map_err(|why| format!("`{text}` is not a shard: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_that_exists() {
        assert_eq!("2/8".parse(), Ok(Shard { index: 2, count: 8 }));
        assert_eq!("0/1".parse(), Ok(Shard::WHOLE));
        for wrong in [
            "",
            "1",
            "8/8",
            "0/0",
            "-1/4",
            "1/",
            "a/b",
            "1/2/3",
            "1/4294967296",
            "0/10001",
        ] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
        assert!(
            "8/8"
                .parse::<Shard>()
                .unwrap_err()
                .contains("the last of 8 is 7")
        );
        assert_eq!(
            Shard::new(2, 8).unwrap().to_string().parse(),
            Ok(Shard { index: 2, count: 8 })
        );
    }
}
