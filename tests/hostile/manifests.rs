//! Manifests that are not what they say: each is refused with exit 5, and nothing is deleted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;

/// A store of two tenants with a pass behind them, and new files in front.
struct Lab {
    dir: TempDir,
    head: PathBuf,
}

fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            found.extend(tree(&entry));
        } else {
            found.insert(entry.clone(), std::fs::read(&entry).unwrap());
        }
    }
    found
}

impl Lab {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        neighbours(dir.path(), "acme");
        neighbours(dir.path(), "globex");
        assert_eq!(pass(dir.path()).code, Some(0));
        neighbours(dir.path(), "acme");
        // A name is used once.
        for i in 0..3 {
            let at = |name: &str| dir.path().join(format!("acme/{name}-{i}.parquet"));
            std::fs::rename(at("good"), at("later")).unwrap();
        }
        std::fs::write(dir.path().join("precious.parquet"), "not icepack's").unwrap();
        let mut versions: Vec<_> = std::fs::read_dir(dir.path().join("_icepack/acme/manifest"))
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        versions.sort();
        Self {
            head: versions.pop().unwrap(),
            dir,
        }
    }

    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut json: Value = serde_json::from_slice(&std::fs::read(&self.head).unwrap()).unwrap();
        change(&mut json);
        std::fs::write(&self.head, serde_json::to_vec(&json).unwrap()).unwrap();
    }

    /// Exit 5, a word of why, and every file outside the runs' records as it was.
    fn refused(&self, name: &str, why: &str) {
        let kept = |t: BTreeMap<PathBuf, Vec<u8>>| {
            t.into_iter()
                .filter(|(p, _)| !p.starts_with(self.dir.path().join("_icepack/runs")))
                .collect::<BTreeMap<_, _>>()
        };
        let before = kept(tree(self.dir.path()));
        let ran = pass(self.dir.path());
        assert_eq!(ran.code, Some(5), "{name}: {}\n{}", ran.stderr, ran.json);
        let said = ran.json["tenants"]
            .as_array()
            .unwrap()
            .iter()
            .find(|t| t["tenant"] == "acme")
            .unwrap()["error"]
            .to_string();
        assert!(said.contains(why), "{name}: {said}");
        let after = kept(tree(self.dir.path()));
        assert!(
            before == after,
            "{name}: {:?}",
            before
                .keys()
                .filter(|k| after.get(*k) != before.get(*k))
                .collect::<Vec<_>>()
        );
    }
}

fn retired(key: &str) -> Value {
    serde_json::json!({"key": key, "size": 13, "etag": null, "rows": 1, "at": "2026-01-01T00:00:00Z", "reason": "compacted"})
}

#[test]
fn a_manifest_that_retires_what_is_not_its_tenants_is_refused() {
    let keys = [
        "globex/good-0.parquet",
        "acme/../globex/good-0.parquet",
        "../precious.parquet",
        "precious.parquet",
        "/etc/passwd",
        "_icepack/globex/manifest/00000000000000000001.json",
        "_icepack/globex/manifest/x.parquet",
        "acme",
        "acme/",
        "acme//good-0.parquet",
        "acme/./good-0.parquet",
        "acme/.notes.txt",
        "acme/_temporary/0/part-0",
        "acme/x.receipt.json",
        "acmee/good-0.parquet",
        "acme\\good-0.parquet",
        "acme/good\u{0}-0.parquet",
        "",
    ];
    let lab = Lab::new();
    let sound = std::fs::read(&lab.head).unwrap();
    for key in keys {
        lab.edit(|m| m["retired"].as_array_mut().unwrap().push(retired(key)));
        lab.refused(&format!("retired `{key}`"), "names what it may not");
        std::fs::write(&lab.head, &sound).unwrap();
    }
    for (list, key) in [
        ("snapshots", "globex/good-0.parquet"),
        ("snapshots", "../x.parquet"),
        ("snapshots", "acme/good-0.parquet"),
    ] {
        lab.edit(|m| {
            let mut snapshot = m["snapshots"][0].clone();
            snapshot["key"] = key.into();
            m[list].as_array_mut().unwrap().push(snapshot);
        });
        lab.refused(&format!("{list} `{key}`"), "names what it may not");
        std::fs::write(&lab.head, &sound).unwrap();
    }
    lab.edit(|m| {
        m["quarantined"] = serde_json::json!([{"key": "../x.parquet", "size": 1, "etag": null, "reason": "", "at": "2026-01-01T00:00:00Z"}]);
    });
    lab.refused("quarantined", "names what it may not");
    std::fs::write(&lab.head, &sound).unwrap();
    for key in [
        "globex/good-0.parquet",
        "../x.parquet",
        "_icepack/globex/manifest/00000000000000000001.json",
    ] {
        lab.edit(|m| {
            let mut receipt: Value = serde_json::from_slice(&targets::receipts()[0]).unwrap();
            receipt["key"] = key.into();
            m["archives"] = serde_json::json!([receipt]);
        });
        lab.refused(&format!("archives `{key}`"), "names what it may not");
        std::fs::write(&lab.head, &sound).unwrap();
    }
    assert_eq!(pass(lab.dir.path()).code, Some(0));
}

#[test]
fn a_manifest_that_cannot_be_read_for_certain_is_refused() {
    let lab = Lab::new();
    let sound = std::fs::read(&lab.head).unwrap();
    let with = |name: &str, why: &str, change: &dyn Fn(&mut Value)| {
        lab.edit(change);
        lab.refused(name, why);
        std::fs::write(&lab.head, &sound).unwrap();
    };
    with("newer", "upgrade", &|m| m["min_reader"] = 99.into());
    with(
        "newer, in other words",
        "upgrade",
        &|m| *m = serde_json::json!({"min_reader": 99, "writer": "icepack 9", "what": "is this"}),
    );
    with("another tenant's", "moved or edited", &|m| {
        m["tenant"] = "globex".into()
    });
    with("a tenant that is a path", "damaged", &|m| {
        m["tenant"] = "../globex".into()
    });
    with("another version", "moved or edited", &|m| {
        m["version"] = 1.into()
    });
    with("no snapshots", "damaged", &|m| {
        drop(m.as_object_mut().unwrap().remove("snapshots"))
    });
    with("an id that is none", "damaged", &|m| {
        m["floor"] = "x".into()
    });
    with("negative rows", "damaged", &|m| {
        m["totals"]["rows_ingested"] = (-1).into()
    });
    for (name, swept) in [
        (
            "names that are cut off",
            serde_json::json!([{"day": "2026-01-01", "names": "AAAA"}]),
        ),
        (
            "names that are no text",
            serde_json::json!([{"day": "2026-01-01", "names": "?"}]),
        ),
        ("names of no day", serde_json::json!([{"names": ""}])),
    ] {
        with(name, "damaged", &|m| m["swept"] = swept.clone());
    }
    for cut in [0, 1, sound.len() / 2, sound.len() - 1] {
        std::fs::write(&lab.head, &sound[..cut]).unwrap();
        lab.refused(&format!("cut to {cut} bytes"), "damaged");
    }
    for body in [&b"[]"[..], b"null", b"\xff\xfe", b"{}", &[b'['; 100_000]] {
        std::fs::write(&lab.head, body).unwrap();
        lab.refused(&format!("{:?}", &body[..body.len().min(8)]), "damaged");
    }
    std::fs::write(&lab.head, &sound).unwrap();
    assert_eq!(pass(lab.dir.path()).code, Some(0));
}
