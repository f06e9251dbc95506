//! Buckets as real writers leave them (`tests/buckets/`): whoever reads a folder reads the same rows
//! with the same columns, types and values after a pass, by the same means; and what is left alone
//! is as it was, and named.
//!
//! `--nocapture` prints what became of each bucket, as a table in Markdown.

mod init;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use chrono::{TimeZone, Utc};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::job;
use table::{BUCKETS, Bucket, Differs};

/// Passes that run at once.
const AT_ONCE: usize = 3;

type Digest = serde_json::Map<String, Value>;

/// What is wrong with a bucket, line by line.
type Problems = Vec<String>;

fn python(script: &str, args: &[&Path]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/buckets")
        .join(script);
    let out = job::python()
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script)
        .args(args)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", job::text(&out.stderr));
    job::text(&out.stdout)
}

fn read(store: &Path) -> Digest {
    serde_json::from_str(&python("read.py", &[store])).unwrap()
}

/// Every file below `dir`, by its path from there.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(dir: &Path, root: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for path in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                let key = path.strip_prefix(root).unwrap().to_str().unwrap();
                found.insert(key.to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(dir, dir, &mut found);
    found
}

fn folder(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Whether engines take no file of this key for data.
fn is_hidden(key: &str) -> bool {
    key.split('/')
        .any(|segment| segment.starts_with(['_', '.']))
}

/// Where a bucket is, and what is set for it.
struct World<'a> {
    bucket: &'a Bucket,
    store: PathBuf,
    archive: PathBuf,
}

impl World<'_> {
    /// The exit code and the JSON document of a command.
    fn run(&self, more: &[(&'static str, String)], args: &[&str]) -> (i32, Value) {
        let mut envs = vec![("ICEPACK_STORE", self.store.to_str().unwrap().to_owned())];
        envs.extend(
            self.bucket
                .settings
                .iter()
                .map(|(k, v)| (*k, (*v).to_owned())),
        );
        envs.extend(more.iter().cloned());
        let out = job::run(&envs, [&["--json", "--quiet"], args].concat());
        let document = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| {
            panic!(
                "{}: {args:?}: {e}: {}",
                self.bucket.name,
                job::text(&out.stderr)
            )
        });
        (out.status.code().unwrap(), document)
    }

    /// A plan, a pass, and another one, which must find nothing to do.
    fn pass(&self) -> (Passed, Problems) {
        let mut problems = Problems::new();
        let before = files(&self.store);
        let (planned, plan) = self.run(&[], &["plan"]);
        expect(
            &mut problems,
            "plan leaves all files",
            files(&self.store) == before,
            true,
        );
        let (exit, report) = self.run(&[], &["run"]);
        // Some files are set aside only once they are read. What is refused, or fails, is never planned.
        let tenants = report["tenants"].as_array().unwrap();
        let has_failed = tenants.iter().any(|t| t["status"] == "failed");
        expect(
            &mut problems,
            "plan exits",
            planned,
            if exit == 5 || has_failed { exit } else { 0 },
        );
        expect(&mut problems, "run exits", exit, self.bucket.exits[0]);
        let after = files(&self.store);
        self.moved(&before, &after, &mut problems);

        let (exit, again) = self.run(&[], &["run"]);
        expect(
            &mut problems,
            "the second run exits",
            exit,
            self.bucket.exits[1],
        );
        expect(
            &mut problems,
            "the second run compacts",
            &again["totals"]["files_compacted"],
            &Value::from(0),
        );
        let data = |files: &BTreeMap<String, Vec<u8>>| {
            files
                .keys()
                .filter(|k| !is_hidden(k))
                .cloned()
                .collect::<BTreeSet<_>>()
        };
        expect(
            &mut problems,
            "the second run leaves all files",
            data(&files(&self.store)) == data(&after),
            true,
        );
        let passed = Passed {
            before: data(&before).len(),
            after: data(&after).len(),
            folders: data(&before)
                .iter()
                .map(|k| folder(k))
                .collect::<BTreeSet<_>>()
                .len(),
            left: left(&plan, &report),
        };
        expect(
            &mut problems,
            "files after the pass",
            passed.after,
            self.bucket.after,
        );
        expect(
            &mut problems,
            "left alone",
            passed.left.as_str(),
            self.bucket.left,
        );
        (passed, problems)
    }

    /// Files that are gone were data and not somebody else's. New ones are snapshots in their folders.
    fn moved(
        &self,
        before: &BTreeMap<String, Vec<u8>>,
        after: &BTreeMap<String, Vec<u8>>,
        problems: &mut Problems,
    ) {
        let mut emptied = BTreeSet::new();
        for (key, bytes) in before {
            match after.get(key) {
                Some(now) if now == bytes => {}
                Some(_) => problems.push(format!("{key} is not what it was")),
                None if is_hidden(key)
                    || self.bucket.untouched.iter().any(|p| key.starts_with(p)) =>
                {
                    problems.push(format!("{key} is gone"));
                }
                None => {
                    emptied.insert(folder(key));
                }
            }
        }
        for key in after
            .keys()
            .filter(|k| !before.contains_key(*k) && !k.starts_with("_icepack/"))
        {
            let name = key.rsplit('/').next().unwrap();
            if !name.starts_with("snapshot.") || !emptied.contains(folder(key)) {
                problems.push(format!("{key} is new where nothing was merged"));
            }
        }
    }

    /// What is before twenty past eleven of the first day expires into an archive, and is restored.
    fn expire_and_restore(&self) -> Problems {
        let mut problems = Problems::new();
        let cutoff = Utc.with_ymd_and_hms(2026, 1, 1, 11, 20, 0).unwrap();
        let archive = (
            "ICEPACK_ARCHIVE_URL",
            self.archive.to_str().unwrap().to_owned(),
        );
        let retention = [
            archive.clone(),
            (
                "ICEPACK_RETENTION_DEFAULT_TTL",
                format!("{}s", (Utc::now() - cutoff).num_seconds()),
            ),
            ("ICEPACK_RETENTION_SLACK", "0s".to_owned()),
            ("ICEPACK_ARCHIVE_MIN_OBJECT_SIZE", "0B".to_owned()),
        ];
        let beside = |files: BTreeMap<String, Vec<u8>>| {
            let kept = |key: &String| {
                !key.starts_with("_icepack/")
                    && (is_hidden(key) || self.bucket.untouched.iter().any(|p| key.starts_with(p)))
            };
            files
                .into_iter()
                .filter(|(key, _)| kept(key))
                .collect::<BTreeMap<_, _>>()
        };
        let before = beside(files(&self.store));
        let (exit, report) = self.run(&retention, &["run"]);
        expect(
            &mut problems,
            "the run with a TTL exits",
            exit,
            self.bucket.exits[2],
        );
        let mut archived = 0;
        for tenant in report["tenants"].as_array().unwrap() {
            let rows = tenant["ledger"]["rows_archived"].as_u64().unwrap();
            if rows > 0 {
                archived += rows;
                let name = tenant["tenant"].as_str().unwrap();
                let (exit, _) = self.run(
                    std::slice::from_ref(&archive),
                    &["restore", "--tenant", name, "--as", name],
                );
                expect(&mut problems, &format!("restore of {name} exits"), exit, 0);
            }
        }
        expect(
            &mut problems,
            "rows archived",
            archived,
            self.bucket.archived,
        );
        expect(
            &mut problems,
            "what lies beside is as it was",
            beside(files(&self.store)) == before,
            true,
        );
        problems
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(
    problems: &mut Problems,
    what: &str,
    found: T,
    wanted: T,
) {
    if found != wanted {
        problems.push(format!("{what}: {found:?}, not {wanted:?}"));
    }
}

/// What a pass made of a bucket.
struct Passed {
    before: usize,
    after: usize,
    folders: usize,
    left: String,
}

/// What a plan and its pass left alone, and why, in a line.
fn left(plan: &Value, report: &Value) -> String {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    let plans = plan["plans"].as_array().unwrap();
    for left in plans
        .iter()
        .map(|p| &p["left_alone"])
        .chain([&plan["root"]])
    {
        for (kind, seen) in left["ignored"].as_object().into_iter().flatten() {
            *kinds.entry(kind.replace('_', " ")).or_default() += seen["files"].as_u64().unwrap();
        }
    }
    let mut told: Vec<String> = kinds
        .iter()
        .map(|(kind, files)| format!("{files} {kind}"))
        .collect();
    for tenant in report["tenants"].as_array().unwrap() {
        let aside = tenant["quarantined"].as_array().unwrap().len()
            + tenant["set_aside"].as_array().unwrap().len();
        if aside > 0 {
            told.push(format!("{aside} set aside"));
        }
        if let Some(error) = tenant["error"].as_str() {
            told.push(format!(
                "{}: {}",
                tenant["tenant"].as_str().unwrap(),
                reason(error)
            ));
        }
    }
    told.join("; ")
}

/// An error in a few words.
fn reason(error: &str) -> String {
    if let Some((_, found)) = error.split_once("what is not icepack's: ") {
        let found = found.split(". Nothing").next().unwrap();
        // Names stand in brackets, and a reason behind a comma.
        let kinds = found
            .split("; ")
            .map(|f| f.split([',', '(']).next().unwrap().trim());
        return format!("refused, {}", kinds.collect::<Vec<_>>().join(", "));
    }
    if error.contains("can be dated") {
        return "failed, no timestamp column".to_owned();
    }
    error.to_owned()
}

/// Where readers see something else than before, or what the bucket's `differs` says they do and
/// they do not.
fn compare(bucket: &Bucket, when: &str, before: &Value, after: &Value) -> Problems {
    let mut problems = Problems::new();
    for (table, readers) in before.as_object().unwrap() {
        for (reader, was) in readers.as_object().unwrap() {
            let is = &after[table][reader];
            let differs = bucket.differs.iter().find(|d| d.reader == reader);
            let found = compare_table(was, is, differs.map_or(&[], |d| d.columns));
            let named = |what| format!("{when}: {table} by {reader}: {what}");
            problems.extend(found.into_iter().map(named));
        }
    }
    problems
}

/// Where two digests of a table differ. `retyped` are the columns that must have another type.
fn compare_table(was: &Value, is: &Value, retyped: &[&str]) -> Problems {
    if let Some(error) = is["error"].as_str() {
        return vec![error.to_owned()];
    }
    let mut problems = Problems::new();
    let columns =
        |of: &Value| -> Vec<[String; 2]> { serde_json::from_value(of["columns"].clone()).unwrap() };
    let (old, new) = (columns(was), columns(is));
    let names = |of: &[[String; 2]]| of.iter().map(|c| c[0].clone()).collect::<Vec<_>>();
    if names(&old) != names(&new) {
        problems.push(format!(
            "columns {:?} became {:?}",
            names(&old),
            names(&new)
        ));
        return problems;
    }
    for ([name, was], [_, is]) in old.iter().zip(&new) {
        match (was == is, retyped.contains(&name.as_str())) {
            (false, false) => problems.push(format!("`{name}`: {was} became {is}")),
            (true, true) => problems.push(format!("`{name}` is {is} as before")),
            _ => {}
        }
    }
    let folders = |of: &Value| of["folders"].as_object().unwrap().clone();
    let (was, is) = (folders(was), folders(is));
    for folder in was.keys().chain(is.keys()).collect::<BTreeSet<_>>() {
        let rows = |of: &Digest| of.get(folder).map_or(0, |f| f["rows"].as_u64().unwrap());
        if rows(&was) != rows(&is) {
            problems.push(format!(
                "`{folder}`: {} rows became {}",
                rows(&was),
                rows(&is)
            ));
            continue;
        }
        let (was, is) = (&was[folder], &is[folder]);
        for (column, values) in was["values"].as_object().unwrap() {
            if !retyped.contains(&column.as_str()) && is["values"][column] != *values {
                problems.push(format!("`{folder}`: other values of `{column}`"));
            }
        }
        if retyped.is_empty() && was["row"] != is["row"] {
            problems.push(format!("`{folder}`: other rows"));
        }
    }
    problems
}

/// Does something to many buckets, some at once.
fn each<'a, T: Send>(worlds: &'a [World<'a>], what: impl Fn(&World<'a>) -> T + Sync) -> Vec<T> {
    let next = Mutex::new(worlds.iter().enumerate());
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((n, world)) = { next.lock().unwrap().next() } {
                    let result = what(world);
                    done.lock().unwrap().insert(n, result);
                }
            });
        }
    });
    done.into_inner().unwrap().into_values().collect()
}

#[test]
fn whoever_reads_a_bucket_reads_the_same_after_a_pass() {
    let dir = TempDir::new().unwrap();
    let [hot, cold] = ["hot", "cold"].map(|name| dir.path().join(name));
    let written: BTreeSet<String> = python("write.py", &[&hot])
        .lines()
        .map(str::to_owned)
        .collect();
    let named: BTreeSet<String> = BUCKETS.iter().map(|b| b.name.to_owned()).collect();
    assert_eq!(written, named, "the writers and the table of this test");
    let worlds: Vec<World> = BUCKETS
        .iter()
        .map(|bucket| World {
            bucket,
            store: hot.join(bucket.name),
            archive: cold.join(bucket.name),
        })
        .collect();

    let before = read(&hot);
    for (bucket, tables) in &before {
        assert!(
            !tables.to_string().contains("\"error\""),
            "{bucket} cannot be read as it is: {tables:#}"
        );
    }
    let passes = each(&worlds, World::pass);
    let after = read(&hot);
    let restores = each(&worlds, |world| {
        if world.bucket.archived > 0 {
            world.expire_and_restore()
        } else {
            Problems::new()
        }
    });
    let back = read(&hot);

    let mut wrong = String::new();
    println!(
        "| bucket | files | folders | readers see the same | left alone |\n| --- | --- | --- | --- | --- |"
    );
    for ((world, (passed, mut problems)), restore) in worlds.iter().zip(passes).zip(restores) {
        let bucket = world.bucket;
        problems.extend(compare(
            bucket,
            "after a pass",
            &before[bucket.name],
            &after[bucket.name],
        ));
        problems.extend(restore);
        if bucket.archived > 0 {
            problems.extend(compare(
                bucket,
                "after a restore",
                &before[bucket.name],
                &back[bucket.name],
            ));
        }
        let differs: Vec<String> = bucket.differs.iter().map(Differs::to_string).collect();
        println!(
            "| {} | {} → {} | {} | {} | {} |",
            bucket.name,
            passed.before,
            passed.after,
            passed.folders,
            match (problems.is_empty(), differs.is_empty()) {
                (false, _) => "**no**".to_owned(),
                (true, true) => "yes".to_owned(),
                (true, false) => format!("all but {}", differs.join("; ")),
            },
            passed.left
        );
        for problem in problems {
            wrong += &format!("{}: {problem}\n", bucket.name);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The settings of each recipe of `docs/writers.md`, by the bucket that it is for.
fn recipes() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/writers.md");
    let page = std::fs::read_to_string(page).unwrap();
    let recipe = |rest: &str| {
        let (name, rest) = rest.split_once(" -->\n```toml\n").unwrap();
        let (settings, _) = rest.split_once("```").unwrap();
        (name.to_owned(), settings.to_owned())
    };
    page.split("<!-- ").skip(1).map(recipe).collect()
}

/// What the page for users of each writer says, is what the passes above are told.
#[test]
fn recipes_for_writers_do_what_they_say() {
    let dir = TempDir::new().unwrap();
    let recipes = recipes();
    assert!(recipes.len() > 8, "{recipes:?}");
    let names: Vec<&Path> = recipes.iter().map(|(name, _)| Path::new(name)).collect();
    python("write.py", &[&[dir.path()][..], &names[..]].concat());
    for (name, settings) in &recipes {
        let bucket = BUCKETS.iter().find(|b| b.name == name).unwrap();
        let (store, config) = (dir.path().join(name), dir.path().join("icepack.toml"));
        let head = format!("store = {:?}\n", store.to_str().unwrap());
        std::fs::write(&config, head + settings).unwrap();
        let out = job::run(
            &[],
            ["--quiet", "--config", config.to_str().unwrap(), "run"],
        );
        let left = files(&store).into_keys().filter(|k| !is_hidden(k)).count();
        assert_eq!(
            (out.status.code(), left),
            (Some(bucket.exits[0]), bucket.after),
            "{name}: {}{}",
            job::text(&out.stdout),
            job::text(&out.stderr)
        );
    }
}
