//! Metrics for Prometheus, rendered from the record of a pass and the status of its tenants, so
//! that a job that is gone a second later can leave them in a file or with a Pushgateway.
//!
//! Counters rise over the life of the store, not of a process: each run record carries on the sums
//! of those before it. docs/metrics.md has all of them.

pub mod deliver;
mod names;
mod text;

use std::cmp::Reverse;

use icepack_core::model::inspect::TenantStatus;
use icepack_core::model::record::RunRecord;
use names::{BY_TENANT, ByTenant, OF_PASS};
use text::Text;

/// The label of all tenants that have no sample of their own. No tenant's name begins so.
pub const OTHERS: &str = "_other";

/// The metrics after a pass. At most `most_tenants` tenants have samples of their own, the worst of
/// each gauge; the others are [`OTHERS`]: their sum, or for ages the highest. How the tenants stand
/// may not be known: then nothing is said of it.
pub fn render(record: &RunRecord, tenants: Option<&[TenantStatus]>, most_tenants: usize) -> String {
    let mut text = Text::default();
    for metric in OF_PASS {
        (metric.samples)(record, &mut text.family(&metric.family));
    }
    for gauge in tenants.iter().flat_map(|_| BY_TENANT) {
        by_tenant(&mut text, gauge, tenants.unwrap_or_default(), most_tenants);
    }
    text.finish()
}

fn by_tenant(text: &mut Text, gauge: &ByTenant, tenants: &[TenantStatus], most: usize) {
    let mut values: Vec<(u64, &str)> = tenants
        .iter()
        .map(|t| ((gauge.value)(t), t.tenant.as_str()))
        .collect();
    values.sort_by_key(|(value, name)| (Reverse(*value), *name));
    let own = values
        .iter()
        .take(most)
        .take_while(|(value, _)| *value > 0)
        .count();
    let (shown, rest) = values.split_at(own);
    let mut family = text.family(&gauge.family);
    for (value, name) in shown {
        family.sample(&[("tenant", name)], value);
    }
    // Always there, so that a rule on the metric has something to look at when all is well.
    let rest = rest.iter().map(|(value, _)| *value).fold(0, gauge.together);
    family.sample(&[("tenant", OTHERS)], rest);
}

#[cfg(test)]
mod tests;
