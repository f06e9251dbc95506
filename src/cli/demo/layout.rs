//! Which files a demo consists of: pure.

use crate::{Error, Result};
use chrono::{DateTime, TimeDelta, Utc};
use icepack_core::model::file::Micros;
use icepack_core::model::names::Tenant;

use super::super::args::DemoArgs;

/// Days of tenant `system`, whose rows are kept for 30: half of them have expired.
const SYSTEM_DAYS: u32 = 60;

/// One file to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSpec {
    pub tenant: Tenant,
    pub key: String,
    pub seed: u64,
    pub rows: usize,
    pub from: Micros,
    pub to: Micros,
}

/// One tenant to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSpec {
    pub tenant: Tenant,
    pub files: u32,
    pub rows: u32,
    pub days: u32,
}

/// The tenants that the arguments ask for.
///
/// # Errors
/// [`Error::Usage`] for what is neither a usual tenant nor `NAME=FILESxROWS`.
pub fn tenants(args: &DemoArgs) -> Result<Vec<TenantSpec>> {
    let usual = usual(args)?;
    if args.demo_tenants.is_empty() {
        return Ok(usual);
    }
    let mut chosen: Vec<TenantSpec> = Vec::new();
    for text in &args.demo_tenants {
        let spec = one(text.trim(), &usual, args)?;
        if chosen.iter().any(|c| c.tenant == spec.tenant) {
            return Err(Error::Usage(format!(
                "--tenants names `{}` twice: keep one",
                spec.tenant
            )));
        }
        chosen.push(spec);
    }
    Ok(chosen)
}

/// One large tenant, some smaller ones in proportion, one with a TTL, and one with fewer files than
/// are worth compacting.
fn usual(args: &DemoArgs) -> Result<Vec<TenantSpec>> {
    let (files, rows) = (args.files, args.rows);
    let spec = |name: &str, files: u32, rows: u32, days| -> Result<TenantSpec> {
        Ok(TenantSpec {
            tenant: parse(name)?,
            files,
            rows: rows.max(1),
            days,
        })
    };
    Ok(vec![
        spec("acme", files, rows, args.days)?,
        spec("globex", (files / 10).max(4), rows / 5, args.days)?,
        spec("initech", (files * 3 / 100).max(3), rows / 20, args.days)?,
        spec("system", (files / 50).max(4), rows / 10, SYSTEM_DAYS)?,
        spec("umbrella", 2, rows / 100, args.days)?,
    ])
}

fn one(text: &str, usual: &[TenantSpec], args: &DemoArgs) -> Result<TenantSpec> {
    let Some((name, numbers)) = text.split_once('=') else {
        let tenant = parse(text)?;
        let known = usual.iter().find(|u| u.tenant == tenant).cloned();
        return Ok(known.unwrap_or(TenantSpec {
            tenant,
            files: args.files,
            rows: args.rows,
            days: args.days,
        }));
    };
    let parsed = numbers
        .split_once('x')
        .and_then(|(files, rows)| Some((positive(files)?, positive(rows)?)));
    let (files, rows) = parsed.ok_or_else(|| {
        Error::Usage(format!(
            "--tenants: `{text}` is not NAME=FILESxROWS, like globex=40x2000"
        ))
    })?;
    let tenant = parse(name)?;
    let days = if tenant.as_str() == "system" {
        SYSTEM_DAYS
    } else {
        args.days
    };
    Ok(TenantSpec {
        tenant,
        files,
        rows,
        days,
    })
}

fn positive(text: &str) -> Option<u32> {
    text.parse().ok().filter(|n| *n > 0)
}

fn parse(name: &str) -> Result<Tenant> {
    Tenant::parse(name).map_err(|e| Error::Usage(format!("--tenants: {e}")))
}

/// The files of one tenant: the days before `end` in equal slots, each file reaching half a slot
/// into the next, as late events do.
pub fn files(spec: &TenantSpec, seed: u64, end: DateTime<Utc>) -> Vec<FileSpec> {
    let start = Micros::from_datetime(end - TimeDelta::days(i64::from(spec.days))).0;
    let end = Micros::from_datetime(end).0;
    // n slots and the half by which the last file reaches beyond its own.
    let halves = 2 * i64::from(spec.files) + 1;
    let edge = |half: i64| {
        Micros(start + ((i128::from(end - start) * i128::from(half)) / i128::from(halves)) as i64)
    };
    let file = |i: u32| {
        let half = 2 * i64::from(i);
        let (from, to) = (edge(half), edge(half + 3));
        let time = from.to_datetime();
        let key = format!(
            "{}/{}/events-{}-{i}.parquet",
            spec.tenant,
            time.format("%Y-%m"),
            time.format("%Y%m%dT%H%M%S")
        );
        FileSpec {
            tenant: spec.tenant.clone(),
            key,
            seed: mix(seed, spec.tenant.as_str(), i),
            rows: spec.rows as usize,
            from,
            to,
        }
    };
    (0..spec.files).map(file).collect()
}

/// A seed for each file, the same on every machine (FNV-1a).
fn mix(seed: u64, tenant: &str, file: u32) -> u64 {
    let bytes = seed
        .to_le_bytes()
        .into_iter()
        .chain(tenant.bytes())
        .chain(file.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::args::{Cli, Command};
    use super::*;
    use clap::Parser;
    use std::collections::HashSet;

    fn args(extra: &[&str]) -> DemoArgs {
        let cli = Cli::parse_from(["icepack", "demo"].iter().chain(extra));
        let Command::Demo(args) = cli.command else {
            panic!("not demo")
        };
        args
    }

    fn shape(extra: &[&str]) -> Vec<(String, u32, u32)> {
        tenants(&args(extra))
            .unwrap()
            .iter()
            .map(|t| (t.tenant.to_string(), t.files, t.rows))
            .collect()
    }

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp(1_777_297_507, 0).unwrap()
    }

    #[test]
    fn the_usual_tenants() {
        let own = |n: &str, f, r| (n.to_owned(), f, r);
        assert_eq!(
            shape(&[]),
            [
                own("acme", 400, 10_000),
                own("globex", 40, 2_000),
                own("initech", 12, 500),
                own("system", 8, 1_000),
                own("umbrella", 2, 100)
            ]
        );
        assert_eq!(
            shape(&["--files", "6", "--rows", "50"])[1..],
            [
                own("globex", 4, 10),
                own("initech", 3, 2),
                own("system", 4, 5),
                own("umbrella", 2, 1)
            ]
        );
        assert_eq!(
            shape(&["--tenants", "umbrella,new=3x7,other"]),
            [
                own("umbrella", 2, 100),
                own("new", 3, 7),
                own("other", 400, 10_000)
            ]
        );
    }

    #[test]
    fn wrong_tenants_are_refused() {
        for wrong in ["_x", "a=3", "a=0x5", "a=bxc", "a,a", "..%2f"] {
            assert!(tenants(&args(&["--tenants", wrong])).is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_overlap_by_half_and_end_at_the_end() {
        let spec = TenantSpec {
            tenant: Tenant::parse("acme").unwrap(),
            files: 10,
            rows: 5,
            days: 30,
        };
        let files = files(&spec, 7, at());
        assert_eq!(files.len(), 10);
        assert_eq!(
            files[0].from,
            Micros::from_datetime(at() - TimeDelta::days(30))
        );
        assert_eq!(files[9].to, Micros::from_datetime(at()));
        for pair in files.windows(2) {
            let slot = pair[1].from.0 - pair[0].from.0;
            let overlap = pair[0].to.0 - pair[1].from.0;
            assert!((overlap * 2 - slot).abs() <= 2, "{overlap} {slot}");
        }
        assert!(
            files[0]
                .key
                .starts_with("acme/2026-03/events-20260328T134507-0"),
            "{}",
            files[0].key
        );
    }

    #[test]
    fn keys_and_seeds_are_unique_and_repeatable() {
        let all = || -> Vec<FileSpec> {
            tenants(&args(&[]))
                .unwrap()
                .iter()
                .flat_map(|t| files(t, 7, at()))
                .collect()
        };
        assert_eq!(all(), all());
        assert_eq!(
            all().iter().map(|f| &f.key).collect::<HashSet<_>>().len(),
            462
        );
        assert_eq!(
            all().iter().map(|f| f.seed).collect::<HashSet<_>>().len(),
            462
        );
        assert!(all().iter().all(|f| f.tenant.owns(&f.key)));
    }

    #[test]
    fn half_of_system_has_expired() {
        let spec = tenants(&args(&["--days", "5"]))
            .unwrap()
            .into_iter()
            .find(|t| t.tenant.as_str() == "system")
            .unwrap();
        let cutoff = Micros::from_datetime(at() - TimeDelta::days(30));
        let files = files(&spec, 7, at());
        let old = files.iter().filter(|f| f.to <= cutoff).count();
        assert!((2..=5).contains(&old), "{old} of {}", files.len());
    }
}
