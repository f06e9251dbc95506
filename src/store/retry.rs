//! Retries with exponential back-off and jitter, for errors that pass by themselves. The only user
//! of the `backoff` crate.

use std::future::Future;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use backoff::ExponentialBackoffBuilder;

use crate::error::Error;
use icepack_parquet::failure::FailureKind;

/// How often and how long something is tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// The wait after the first failure is up to this.
    pub initial: Duration,
    /// Each further wait is up to this many times the one before.
    pub factor: f64,
    /// No wait is longer.
    pub max_interval: Duration,
    /// After this long, the last error stands. Zero: no second try.
    pub max_elapsed: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            factor: 2.0,
            max_interval: Duration::from_secs(20),
            max_elapsed: Duration::from_secs(180),
        }
    }
}

impl RetryPolicy {
    /// One try.
    pub const NEVER: Self = Self {
        initial: Duration::ZERO,
        factor: 1.0,
        max_interval: Duration::ZERO,
        max_elapsed: Duration::ZERO,
    };
}

/// An error that knows whether it passes by itself.
pub trait Retryable: std::fmt::Display {
    /// Whether the same request may succeed later. What the store refused will be refused again.
    fn is_transient(&self) -> bool;

    /// How long the store asked to be left alone.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

impl Retryable for object_store::Error {
    fn is_transient(&self) -> bool {
        FailureKind::of(self) == FailureKind::Transient
    }
}

impl Retryable for Error {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Store { source, .. } if source.is_transient())
    }
}

/// Runs `op` until it succeeds, fails for good, or `policy` is exhausted. `what` says in the log
/// what is being done: `put acme/x.parquet`.
///
/// # Errors
/// The last error.
pub async fn retry<T, E, F, Fut>(policy: &RetryPolicy, what: &str, mut op: F) -> Result<T, E>
where
    E: Retryable,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    if policy.max_elapsed.is_zero() {
        return op().await;
    }
    // The crate draws from interval ± factor × interval: half the interval and all of it make
    // 0..interval, full jitter.
    let waits = ExponentialBackoffBuilder::new()
        .with_initial_interval(policy.initial / 2)
        .with_multiplier(policy.factor)
        .with_randomization_factor(1.0)
        .with_max_interval(policy.max_interval / 2)
        .with_max_elapsed_time(Some(policy.max_elapsed))
        .build();
    let (attempts, waited) = (AtomicU32::new(0), AtomicU64::new(0));
    let attempt = || {
        attempts.fetch_add(1, Ordering::Relaxed);
        let (result, waited) = (op(), &waited);
        async move {
            result.await.map_err(|e| {
                verdict(
                    e,
                    policy,
                    Duration::from_millis(waited.load(Ordering::Relaxed)),
                )
            })
        }
    };
    let log = |error: E, wait: Duration| {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        waited.fetch_add(wait_ms, Ordering::Relaxed);
        tracing::warn!(attempt = attempts.load(Ordering::Relaxed), wait_ms, cause = %error, "cannot {what}: trying again");
    };
    backoff::future::retry_notify(waits, attempt, log).await
}

/// The crate waits as long as the store asks, however often, and counts that towards no limit: the
/// limit is kept here.
fn verdict<E: Retryable>(error: E, policy: &RetryPolicy, waited: Duration) -> backoff::Error<E> {
    match error.retry_after() {
        _ if !error.is_transient() => backoff::Error::permanent(error),
        Some(wait) if waited.saturating_add(wait) > policy.max_elapsed => {
            backoff::Error::permanent(error)
        }
        Some(wait) => backoff::Error::retry_after(error, wait),
        None => backoff::Error::transient(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::Error as E;

    fn generic(text: &str) -> E {
        E::Generic {
            store: "S3",
            source: text.to_owned().into(),
        }
    }

    fn quick() -> RetryPolicy {
        RetryPolicy {
            initial: Duration::from_millis(2),
            factor: 2.0,
            max_interval: Duration::from_millis(10),
            max_elapsed: Duration::from_secs(5),
        }
    }

    #[test]
    fn only_what_passes_by_itself_is_transient() {
        for text in [
            "connection reset",
            "operation timed out",
            "Server returned non-2xx status code: 503 Service Unavailable: SlowDown",
            "status 429",
            "status 400 Bad Request: RequestTimeout",
        ] {
            assert!(generic(text).is_transient(), "{text}");
        }
        let source = || "x".into();
        let path = || "p".to_owned();
        for e in [
            E::NotFound {
                path: path(),
                source: source(),
            },
            E::AlreadyExists {
                path: path(),
                source: source(),
            },
            E::Precondition {
                path: path(),
                source: source(),
            },
            E::PermissionDenied {
                path: path(),
                source: source(),
            },
            E::Unauthenticated {
                path: path(),
                source: source(),
            },
            E::NotSupported { source: source() },
            E::NotImplemented {
                operation: path(),
                implementer: path(),
            },
            generic("Client error with status 400 Bad Request: InvalidStorageClass"),
            E::Generic {
                store: "LocalFileSystem",
                source: std::io::Error::from(std::io::ErrorKind::StorageFull).into(),
            },
        ] {
            assert!(!e.is_transient(), "{e}");
        }
    }

    #[tokio::test]
    async fn a_passing_failure_is_tried_again_and_a_lasting_one_is_not() {
        let calls = AtomicU32::new(0);
        let result = retry(&quick(), "put x", || async {
            if calls.fetch_add(1, Ordering::SeqCst) < 3 {
                Err(generic("reset"))
            } else {
                Ok(7)
            }
        })
        .await;
        assert_eq!(result.unwrap(), 7);
        assert_eq!(calls.load(Ordering::SeqCst), 4);

        let calls = AtomicU32::new(0);
        let result: object_store::Result<()> = retry(&quick(), "put x", || async {
            calls.fetch_add(1, Ordering::SeqCst);
            Err(E::NotSupported {
                source: "no".into(),
            })
        })
        .await;
        assert!(result.is_err());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_last_error_stands_when_the_time_is_up() {
        let policy = RetryPolicy {
            max_elapsed: Duration::from_millis(30),
            ..quick()
        };
        let result: object_store::Result<()> =
            retry(&policy, "put x", || async { Err(generic("still down")) }).await;
        assert!(result.unwrap_err().to_string().contains("still down"));
    }
    #[derive(Debug)]
    struct Busy(Duration);

    impl std::fmt::Display for Busy {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "come back in {:?}", self.0)
        }
    }

    impl Retryable for Busy {
        fn is_transient(&self) -> bool {
            true
        }

        fn retry_after(&self) -> Option<Duration> {
            Some(self.0)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_names_its_wait_is_waited_for_up_to_the_limit() {
        let policy = RetryPolicy {
            max_elapsed: Duration::from_secs(60),
            ..RetryPolicy::default()
        };
        let calls = AtomicU32::new(0);
        let busy = || async {
            calls.fetch_add(1, Ordering::SeqCst);
            Err::<(), _>(Busy(Duration::from_secs(25)))
        };
        assert!(retry(&policy, "put x", busy).await.is_err());
        assert_eq!(
            calls.load(Ordering::SeqCst),
            3,
            "a third wait would be over the limit"
        );
    }
}
