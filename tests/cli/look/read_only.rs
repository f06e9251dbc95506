//! Who only looks writes nothing: the store refuses it, and would be noticed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use icepack::inspect::sample::sample;
use icepack::page::{self, Labels};
use icepack::pass::Selection;
use icepack_core::model::plan::SkipReason;
use icepack_dst::intercept::InterceptStore;
use object_store::Error;

use super::World;
use crate::support::{Store, keys, tenant_keys};

/// The world behind stores that nobody may write to, and how many tried.
fn locked(world: &World) -> (Store, Arc<AtomicU64>, World) {
    let tried = Arc::new(AtomicU64::new(0));
    let lock = |inner: &Store| {
        let tried = Arc::clone(&tried);
        let locked = InterceptStore::before(Arc::clone(inner), move |request| {
            let changes = request.kind.changes();
            tried.fetch_add(u64::from(changes), Ordering::SeqCst);
            async move {
                if !changes {
                    return Ok(());
                }
                Err(Error::Generic {
                    store: "read-only",
                    source: "somebody who only looks wrote".into(),
                })
            }
        });
        Arc::new(locked) as Store
    };
    let (hot, cold) = (lock(&world.hot), lock(&world.cold));
    let world = World {
        hot: Arc::clone(&hot),
        cold,
        config: world.config.clone(),
    };
    (hot, tried, world)
}

#[tokio::test]
async fn nobody_who_only_looks_writes() {
    let world = World::compacted().await;
    world.untidy().await;
    let before = (keys(&world.hot).await, keys(&world.cold).await);
    let (hot, tried, locked) = locked(&world);
    let manager = locked.manager(&hot);
    let all = Selection::all();

    let plan = manager.plan(&all).await.unwrap();
    assert!(
        plan.failures.is_empty() && plan.plans.iter().any(|p| !p.groups.is_empty()),
        "there is something to be done: {plan:?}"
    );
    assert!(
        plan.plans
            .iter()
            .any(|p| p.expiry.as_ref().is_some_and(|e| e.rows_expiring > 0)),
        "and something expires: {plan:?}"
    );
    manager.status(&all).await.unwrap();
    assert!(!manager.live_views(&all).await.unwrap().is_empty());
    manager.verify(&all, true).await.unwrap();
    let overview = manager.overview(&all).await.unwrap();
    assert!(
        page::html(&overview, &Labels::default())
            .unwrap()
            .contains("globex")
    );
    assert_eq!(
        sample(&hot, &Default::default(), &Default::default())
            .await
            .unwrap()
            .tenants
            .len(),
        3
    );

    assert_eq!(tried.load(Ordering::SeqCst), 0);
    assert_eq!((keys(&world.hot).await, keys(&world.cold).await), before);
    // The lock does hold: a pass runs into it.
    manager.run_pass(&all).await.unwrap_err();
    assert!(tried.load(Ordering::SeqCst) > 0);
    assert!(manager.publish_report(&Labels::default()).await.is_err());
}

#[tokio::test]
async fn every_file_has_a_reason() {
    let world = World::compacted().await;
    world.untidy().await;
    let plan = world
        .manager(&world.hot)
        .plan(&Selection::all())
        .await
        .unwrap();
    for p in &plan.plans {
        let mut told: Vec<String> = p
            .groups
            .iter()
            .flat_map(|g| &g.inputs)
            .map(|i| i.key.clone())
            .collect();
        told.extend(p.skipped.iter().map(|s| s.key.clone()));
        told.sort();
        assert_eq!(
            told,
            tenant_keys(&world.hot, p.tenant.as_str()).await,
            "each file once"
        );
        assert_eq!(
            p.estimate.as_ref().unwrap().outputs,
            p.groups.iter().filter(|g| !g.is_expiry()).count() as u64,
            "each of these groups becomes one small file"
        );
    }
    let of = |name: &str| {
        plan.plans
            .iter()
            .find(|p| p.tenant.as_str() == name)
            .unwrap()
    };
    let why = |key: &str| {
        &of(key.split('/').next().unwrap())
            .skipped
            .iter()
            .find(|s| s.key == key)
            .unwrap()
            .reason
    };
    assert!(matches!(
        why("globex/bad.parquet"),
        SkipReason::Quarantined { .. }
    ));
    assert!(matches!(
        why("umbrella/one.parquet"),
        SkipReason::TooFew { have: 1, need: 3 }
    ));
}
