//! The commit and deletion protocol, searched to the end on small worlds.
//!
//! Actions call `plan::commit::apply`, `plan::sweep` and `plan::live` themselves; only the order of
//! requests, which the stages give, is modelled. Every state is judged by `icepack_dst::invariants`.
//! Then each check is taken out, one at a time, and the search must find what breaks.
//!
//! `ICEPACK_MODEL=large cargo test --test simulation model:: -- --nocapture` searches larger worlds too (20
//! million states); `ICEPACK_MODEL=traces` prints how each mutant is caught.

mod checker;
mod committer;
mod process;
mod restore;
mod state;
mod worlds;

use std::collections::BTreeSet;
use std::time::Instant;

use checker::{Action, Fault, Model};
use icepack_core::plan::commit::Check;
use state::{Pc, State};
use stateright::{Checker, HasDiscoveries, Model as _};

fn asked_for(what: &str) -> bool {
    std::env::var("ICEPACK_MODEL").is_ok_and(|v| v == what)
}

/// What the search of a world found: the property that broke first, and the steps to it.
struct Found {
    states: usize,
    depth: usize,
    broken: Option<(&'static str, Vec<String>)>,
    reached: BTreeSet<&'static str>,
    seconds: f64,
}

/// One thread meets the shortest trace first.
fn search(model: Model, threads: usize) -> Found {
    let began = Instant::now();
    let checker = model
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let broken = checker
        .discoveries()
        .into_iter()
        .map(|(name, path)| (name, path.into_vec()))
        .min_by_key(|(name, path)| (path.len(), *name));
    let broken = broken.map(|(name, path)| {
        (
            name,
            path.iter()
                .filter_map(|(state, action)| Some(describe(state, action.as_ref()?)))
                .collect(),
        )
    });
    let reached = checker
        .model()
        .reached
        .lock()
        .unwrap()
        .keys()
        .copied()
        .collect();
    Found {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        broken,
        reached,
        seconds: began.elapsed().as_secs_f64(),
    }
}

/// A step in a word or two: who, and which request.
fn describe(s: &State, action: &Action) -> String {
    let Action::Step(p, how) = action else {
        return format!("{action:?}");
    };
    let first_word = |text: String| {
        text.split([' ', '{', '('])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let request = match &s.procs[*p].pc {
        Pc::Commit(c) => format!(
            "commit {} of version {}",
            first_word(format!("{:?}", c.at)),
            c.next.version
        ),
        Pc::Delete { todo, .. } => format!("deletes {}", todo[0]),
        pc => first_word(format!("{pc:?}")),
    };
    format!("{p}: {request} {how:?}")
}

/// What an honest model must get to, or it proves less than it seems to.
const MUST_REACH: [&str; 42] = [
    "head is another manifest than the one listed",
    "committed",
    "committed after a rebase",
    "rebase",
    "superseded",
    "unknown",
    "a lost reply is settled as ours",
    "a pruned version number is revived",
    "a manifest is pruned",
    "a deleted file is forgotten",
    "an archive entry is settled",
    "the floor is raised",
    "an orphan is collected",
    "a redelivered row is met and dropped",
    "an input is gone before it is read",
    "a reader has its view",
    "a reader starts over",
    "a whole snapshot is dropped unread",
    "a group is begun on another head than it was planned on",
    "another run began the tenant",
    "a tenant was begun between the two reads",
    "conflict: already retired",
    "conflict: remembered",
    "conflict: not seen",
    "conflict: changed",
    "a file is uploaded again",
    "conflict: not live",
    "conflict: below the floor",
    "conflict: the floor fell",
    "conflict: held",
    "conflict: already restored",
    "conflict: still held",
    "a restore is done",
    "a restore was done before",
    "a restore overlaps another",
    "a restore goes on where another broke off",
    "a restore finds a file written",
    "a file under a retired name is looked at",
    "head is read again, for a snapshot of it is gone",
    "a head that is older than the store is refused",
    "a page is collected",
    "a page of an older head is gone",
];

#[test]
fn nothing_is_lost_in_any_order_of_steps() {
    let mut worlds = worlds::small();
    if asked_for("large") {
        worlds.extend(worlds::large());
    }
    let (mut states, mut reached) = (0, BTreeSet::new());
    for (name, model) in worlds {
        let found = search(model, 2);
        println!(
            "{name:20} {:>9} states, depth {:>3}, {:6.1} s",
            found.states, found.depth, found.seconds
        );
        if let Some((property, steps)) = &found.broken {
            panic!(
                "{name}: `{property}` breaks after {} steps:\n{}",
                steps.len(),
                steps.join("\n")
            );
        }
        states += found.states;
        reached.extend(found.reached);
    }
    println!("{states} states in all; reached: {reached:#?}");
    for what in MUST_REACH {
        assert!(reached.contains(what), "the model never reaches `{what}`");
    }
}

type Mutant = (Option<Check>, Option<Fault>, fn() -> Model);

/// A check or a step that is taken out, where it is missed, and the careless caller that it guards
/// against where no race alone reaches it.
fn mutants() -> Vec<Mutant> {
    use worlds as w;
    vec![
        (Some(Check::AlreadyRetired), None, w::same_inputs),
        (None, Some(Fault::ForgetsNames), w::uploaded_again),
        (Some(Check::Remembered), None, w::uploaded_again),
        (Some(Check::NotSeen), None, || {
            w::months_apart(w::same_inputs())
        }),
        (Some(Check::Changed), None, || {
            w::months_apart(w::name_again())
        }),
        (Some(Check::NotLive), None, w::snapshots),
        (Some(Check::BelowFloor), None, w::floor),
        (Some(Check::FloorFell), None, w::floor),
        (
            Some(Check::StaleObservation),
            Some(Fault::RebasesBlindly),
            || w::months_apart(w::same_inputs()),
        ),
        (
            Some(Check::NotForgettable),
            Some(Fault::ForgetsUnseen),
            || w::months_apart(w::same_inputs()),
        ),
        (
            Some(Check::NotSettled),
            Some(Fault::SettlesUnfiled),
            w::retention,
        ),
        (Some(Check::Books), Some(Fault::LosesARow), w::same_inputs),
        (
            Some(Check::ForeignPath),
            Some(Fault::CrossesTenants),
            w::same_inputs,
        ),
        (
            Some(Check::AlreadyLive),
            Some(Fault::NamesTwice),
            w::two_files,
        ),
        (Some(Check::Held), None, w::restore),
        (Some(Check::AlreadyRestored), None, w::restores_that_overlap),
        (
            Some(Check::HoldGone),
            Some(Fault::ReleasesUndone),
            w::restore,
        ),
        (
            Some(Check::NotForgettable),
            Some(Fault::ForgetsHeld),
            || w::months_apart(w::restore_twice()),
        ),
        (Some(Check::StillHeld), None, w::restore_and_expiry),
        (
            Some(Check::AlreadyRestored),
            Some(Fault::ForgetsWhatWasBrought),
            w::restore_after_a_hold,
        ),
        (
            Some(Check::NotRestored),
            Some(Fault::ClaimsRestored),
            w::restored_and_old,
        ),
        (None, Some(Fault::SkipsSupersededCheck), w::revival),
        (None, Some(Fault::DeletesFromMemory), w::revival),
        (None, Some(Fault::CollectsWithoutFloor), w::floor),
        (None, Some(Fault::TakesUnknownForFailure), w::unknown),
        (None, Some(Fault::CommitsBeforeArchive), w::retention),
        (None, Some(Fault::ClaimsOldSightings), || {
            w::months_apart(w::same_inputs())
        }),
        (None, Some(Fault::ReadsOnce), w::reader),
        (None, Some(Fault::LooksOnce), w::birth),
        (None, Some(Fault::TrustsVersionNumbers), w::revived_head),
        (None, Some(Fault::BelievesListings), || {
            w::months_apart(w::late_listing())
        }),
        (None, Some(Fault::TakesTagsForFiles), || {
            w::months_apart(w::touched())
        }),
        (None, Some(Fault::BelievesHead), w::old_head_of_what_is_gone),
        (None, Some(Fault::BelievesHead), w::old_head_of_nothing),
        (None, Some(Fault::NamesPagesFirst), w::pages),
        (None, Some(Fault::CollectsPagesWithoutFloor), w::pages),
    ]
}

fn mutant(off: Option<Check>, fault: Option<Fault>, world: fn() -> Model) -> Model {
    Model {
        off,
        fault,
        ..world()
    }
}

#[test]
fn each_check_is_missed_when_it_is_taken_out() {
    let mut missed = Vec::new();
    for (off, fault, world) in mutants() {
        let name = format!(
            "{}{}",
            off.map_or(String::new(), |c| format!("no {c:?} ")),
            fault.map_or(String::new(), |f| format!("{f:?}"))
        );
        let found = search(mutant(off, fault, world), 1);
        match &found.broken {
            Some((property, steps)) => {
                println!(
                    "| {name:42} | {property:28} | {:>2} steps | {:>7} states | {:5.1} s |",
                    steps.len(),
                    found.states,
                    found.seconds
                );
                if asked_for("traces") {
                    println!("{}\n", steps.join("\n"));
                }
            }
            None => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "nothing breaks without: {missed:#?}");
}

/// The checks that no race alone reaches: with the check in place, the careless caller does no
/// harm.
#[test]
fn a_check_stops_the_careless_caller_that_it_is_for() {
    for (off, fault, world) in mutants()
        .into_iter()
        .filter(|(off, fault, _)| off.is_some() && fault.is_some())
    {
        let found = search(mutant(None, fault, world), 2);
        println!("{fault:?} stopped by {off:?}: {} states", found.states);
        assert!(found.broken.is_none(), "{fault:?}: {:?}", found.broken);
    }
}

/// The edge of the promise: raw files are written once, under names that do not come back. With two
/// sweepers at work, one may have the name of a file in its hand that the other deletes and
/// forgets; a new file of that name is then deleted unread. The tag protects it only as long as
/// nobody stalls between the listing and the delete, for stores delete keys and not versions.
#[test]
fn a_name_that_comes_back_is_safe_from_one_sweeper_only() {
    assert!(search(worlds::name_again(), 2).broken.is_none());
    let found = search(worlds::name_again_under_two_sweepers(), 1);
    let (property, steps) = found
        .broken
        .expect("if this has become safe, say so in the docs");
    println!(
        "{property} after {} steps:\n{}",
        steps.len(),
        steps.join("\n")
    );
}
