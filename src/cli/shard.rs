//! Which shard this process is: by the flag, else by the variables of Kubernetes or AWS Batch.

use crate::{Error, Result};
use icepack_core::model::shard::Shard;

/// Pairs of variables: the index, from 0, and how many there are.
const VARIABLES: [(&str, &str, &str); 2] = [
    (
        "JOB_COMPLETION_INDEX",
        "JOB_COMPLETIONS",
        "Kubernetes sets the first alone: give the pod the job's completions as JOB_COMPLETIONS",
    ),
    (
        "AWS_BATCH_JOB_ARRAY_INDEX",
        "AWS_BATCH_JOB_ARRAY_SIZE",
        "AWS Batch sets both for the children of an array job",
    ),
];

/// The shard that `flag` names, else the one that the variables name, else the whole.
pub fn resolve(flag: Option<Shard>, variable: impl Fn(&str) -> Option<String>) -> Result<Shard> {
    if let Some(shard) = flag {
        return Ok(shard);
    }
    let given = |name: &str| {
        variable(name)
            .map(|v| v.trim().to_owned())
            .filter(|v| !v.is_empty())
    };
    for (index, count, hint) in VARIABLES {
        let Some(i) = given(index) else { continue };
        let usage =
            |why: String| Error::Usage(format!("environment {index}: {why}, or say --shard i/n"));
        let n = given(count).ok_or_else(|| {
            usage(format!(
                "of how many shards this is number {i}, {count} does not say; {hint}"
            ))
        })?;
        return format!("{i}/{n}")
            .parse()
            .map_err(|why| usage(format!("{why} (of {index} and {count})")));
    }
    Ok(Shard::WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(flag: Option<&str>, vars: &[(&str, &str)]) -> Result<String> {
        let variable = |name: &str| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        };
        resolve(flag.map(|f| f.parse().unwrap()), variable).map(|s| s.to_string())
    }

    #[test]
    fn the_flag_beats_the_job_s_environment() {
        let kubernetes = [("JOB_COMPLETION_INDEX", "3"), ("JOB_COMPLETIONS", "8")];
        let batch = [
            ("AWS_BATCH_JOB_ARRAY_INDEX", "0"),
            ("AWS_BATCH_JOB_ARRAY_SIZE", "2"),
        ];
        assert_eq!(of(None, &[]).unwrap(), "0/1");
        assert_eq!(of(None, &kubernetes).unwrap(), "3/8");
        assert_eq!(of(None, &batch).unwrap(), "0/2");
        assert_eq!(of(Some("1/2"), &kubernetes).unwrap(), "1/2");
        assert_eq!(
            of(
                None,
                &[("JOB_COMPLETION_INDEX", ""), ("JOB_COMPLETIONS", "8")]
            )
            .unwrap(),
            "0/1"
        );
    }

    #[test]
    fn half_an_environment_is_no_shard() {
        // Every pod would otherwise do everything.
        let text = of(None, &[("JOB_COMPLETION_INDEX", "3")])
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("JOB_COMPLETIONS does not say") && text.contains("--shard"),
            "{text}"
        );
        let text = of(
            None,
            &[("JOB_COMPLETION_INDEX", "8"), ("JOB_COMPLETIONS", "8")],
        )
        .unwrap_err()
        .to_string();
        assert!(text.contains("the last of 8 is 7"), "{text}");
    }
}
