//! The layout of a store that icepack has compacted: the names of its snapshots have the tenants.

use std::collections::BTreeSet;

use super::candidates::Candidate;
use super::folders::told;
use crate::model::file::Listed;
use crate::model::layout::{Layout, ONLY_TENANT};
use crate::model::names::{folder, snapshot_tenant};

/// Ways that are tried to read a tenant's name into folders.
const TRIES: usize = 1_000;

/// A layout by which every snapshot is its tenant's; none where there is none, or none is found.
pub(super) fn layouts(data: &[&Listed]) -> Option<Candidate> {
    let named = data
        .iter()
        .filter_map(|f| Some((f.key.as_str(), snapshot_tenant(&f.key)?)));
    let snapshots: Vec<(&str, &str)> = named.collect();
    let (key, tenant) = *snapshots.first()?;
    let tenants: BTreeSet<&str> = snapshots.iter().map(|(_, tenant)| *tenant).collect();
    let is_right = |text: &String| {
        let Ok(layout) = Layout::parse(text) else {
            return false;
        };
        let is_of = |(key, tenant): &(&str, &str)| matches!(layout.tenant_of(key), Ok(Some(t)) if t.as_str() == *tenant);
        snapshots.iter().all(is_of)
    };
    let keys: Vec<&str> = snapshots.iter().map(|(key, _)| *key).collect();
    let layout = patterns(key, tenant, &keys).into_iter().find(is_right)?;
    Some(Candidate {
        why: format!(
            "icepack has packed this store so: the snapshots are of {}",
            told(tenants)
        ),
        layout,
        ..Candidate::default()
    })
}

/// Patterns by which `key` may be `tenant`'s, those with the placeholder first that lies highest.
fn patterns(key: &str, tenant: &str, keys: &[&str]) -> Vec<String> {
    let segments: Vec<&str> = folder(key).split('/').filter(|s| !s.is_empty()).collect();
    let mut found = Vec::new();
    let mut open = vec![(Vec::<(usize, &str)>::new(), tenant.to_owned())];
    // A hostile name fits in more ways than anybody can try.
    for _ in 0..TRIES {
        let Some((places, rest)) = open.pop() else {
            break;
        };
        if rest.is_empty() {
            found.push(places);
            continue;
        }
        let from = places.last().map_or(0, |(at, _)| at + 1);
        let steps = segments.iter().enumerate().skip(from).rev();
        for (at, segment) in steps {
            let cut = segment.find('=').map_or(0, |at| at + 1);
            for start in [cut, 0] {
                let part = &segment[start..];
                for text in [part.to_owned(), part.replace('.', "..")] {
                    let Some(after) = rest
                        .strip_prefix(text.as_str())
                        .filter(|_| !text.is_empty())
                    else {
                        continue;
                    };
                    let after = after.strip_prefix('.').unwrap_or(after).to_owned();
                    let place = (at, &segment[..start]);
                    open.push((places.iter().copied().chain([place]).collect(), after));
                }
            }
        }
    }
    found.sort_by_key(|places| places.iter().map(|(at, _)| *at).collect::<Vec<_>>());
    let mut patterns: Vec<String> = found
        .iter()
        .map(|places| pattern(&segments, places, keys))
        .collect();
    if tenant == ONLY_TENANT {
        patterns.push("**".to_owned());
    }
    patterns
}

/// The pattern with placeholders at `places`. Above the last, a folder that all keys share stands for
/// itself.
fn pattern(segments: &[&str], places: &[(usize, &str)], keys: &[&str]) -> String {
    let last = places.last().map_or(0, |(at, _)| at + 1);
    let mut pattern = String::new();
    for (at, segment) in segments.iter().enumerate().take(last) {
        let shared = || {
            keys.iter()
                .all(|key| key.split('/').nth(at) == Some(*segment))
        };
        match places.iter().position(|(place, _)| *place == at) {
            Some(_) if places.len() == 1 => pattern += &format!("{}{{tenant}}", places[0].1),
            Some(n) => pattern += &format!("{}{{part{n}}}", places[n].1),
            None if shared() => pattern += segment,
            None => pattern.push('*'),
        }
        pattern.push('/');
    }
    pattern + "**"
}
