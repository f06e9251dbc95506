use chrono::DateTime;
use ulid::Ulid;

use super::*;
use crate::model::file::{Micros, RowStats};
use crate::model::manifest::{MIN_READER, MIN_READER_OF_PAGES, RetireReason, Stamp};
use crate::model::names::{Place, snapshot_key};

const SIZES: PageSizes = PageSizes {
    inline: 4,
    entries: 4,
    pages: 1_000,
    unnamed: 0,
};

fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn head() -> Manifest {
    let stamp = Stamp {
        run_id: FileId::NIL,
        commit_id: FileId::NIL,
        at: DateTime::UNIX_EPOCH,
    };
    Manifest::first(tenant(), stamp)
}

fn snapshot(folder: u32, n: u64) -> Snapshot {
    let id = FileId(Ulid::from_parts(n, u128::from(folder)));
    let place = Place::Folder(format!("acme/d={folder:04}"));
    Snapshot {
        key: snapshot_key(&place, &tenant(), Micros(0), Micros(1), id),
        id,
        size: 100 + n,
        etag: Some(format!("\"{n}\"")),
        schema: Some(SchemaId(7)),
        dated_by: Some("timestamp".into()),
        stats: RowStats {
            rows: 10,
            min: Some(Micros(i64::try_from(n).unwrap())),
            max: Some(Micros(i64::try_from(n).unwrap())),
            ..RowStats::default()
        },
    }
}

/// Two snapshots in each of so many folders.
fn tenant_of(folders: u32) -> Manifest {
    let mut m = head();
    for folder in 0..folders {
        m.snapshots.push(snapshot(folder, 1));
        m.snapshots.push(snapshot(folder, 2));
    }
    m.put_in_order();
    m
}

/// Ids that no other call gives.
fn minter(first: u64) -> impl FnMut() -> FileId {
    let mut n = 0;
    move || {
        n += 1;
        FileId(Ulid::from_parts(first, n))
    }
}

fn read_back(document: &[u8], pages: &[NewPage]) -> Manifest {
    let mut m: Manifest = serde_json::from_slice(document).unwrap();
    m.check_pages().unwrap();
    for page in pages {
        if m.pages.all().iter().any(|p| p.id == page.id) {
            m.take_in(page.id, &page.body).unwrap();
        }
    }
    m.put_in_order();
    m
}

#[test]
fn a_small_manifest_has_no_pages() {
    let mut m = tenant_of(2);
    assert_eq!(m.divide(SIZES, minter(1)).unwrap(), []);
    assert_eq!((m.format, m.min_reader), (5, MIN_READER));
    let stored: serde_json::Value = serde_json::from_slice(&m.document().unwrap()).unwrap();
    assert_eq!(stored["snapshots"].as_array().unwrap().len(), 4);
    assert!(stored.get("pages").is_none());
}

#[test]
fn what_is_divided_comes_back() {
    let mut m = tenant_of(9);
    m.restored
        .insert(m.snapshots[3].id, BTreeSet::from([FileId::NIL]));
    let before = m.clone();
    let written = m.divide(SIZES, minter(1)).unwrap();
    assert_eq!(written.len(), 5, "two folders in each");
    assert_eq!(m.min_reader, MIN_READER_OF_PAGES);
    let document = m.document().unwrap();
    assert_eq!(m.snapshots, before.snapshots, "in memory it stays whole");
    let text = String::from_utf8(document.clone()).unwrap();
    assert!(!text.contains("snapshot.acme"), "{text}");
    let back = read_back(&document, &written);
    assert_eq!(back, m);
    assert_eq!(back.restored, before.restored);
    let first = &back.pages.all()[0];
    assert_eq!((first.from.as_str(), first.folders), ("", 2));
    assert_eq!((first.snapshots(), first.times.rows), (4, 40));
    assert_eq!(first.second, Some(102));
    assert_eq!(first.schemas, BTreeSet::from([SchemaId(7)]));
}

#[test]
fn a_commit_writes_the_pages_that_it_changes() {
    let mut m = tenant_of(9);
    let written = m.divide(SIZES, minter(1)).unwrap();
    let mut m: Manifest = serde_json::from_slice(&m.document().unwrap()).unwrap();
    let before = m.pages.clone();
    // The page of folders 4 and 5 is read, and one snapshot more is in it.
    let at = m.pages.place("acme/d=0005").unwrap();
    let id = m.pages.all()[at].id;
    let body = &written.iter().find(|p| p.id == id).unwrap().body;
    m.take_in(id, body).unwrap();
    assert!(m.pages.knows("acme/d=0004/x") && !m.pages.knows("acme/d=0003/x"));
    assert_eq!(
        m.divide(SIZES, minter(2)).unwrap(),
        [],
        "nothing has changed"
    );
    assert_eq!(m.pages, before_with_read(&before, id));

    m.snapshots.push(snapshot(5, 3));
    let again = m.divide(SIZES, minter(3)).unwrap();
    assert_eq!(again.len(), 1);
    let same = |pages: &Pages| -> Vec<FileId> { pages.all().iter().map(|p| p.id).collect() };
    let (old, new) = (same(&before), same(&m.pages));
    assert_eq!((&old[..at], &old[at + 1..]), (&new[..at], &new[at + 1..]));
    assert_eq!(m.pages.all()[at].snapshots(), 5);
    assert_eq!(m.live_rows(), 190);
}

fn before_with_read(before: &Pages, id: FileId) -> Pages {
    let mut pages = before.clone();
    pages.unread.remove(&id);
    pages
}

#[test]
fn a_page_grows_to_twice_its_size_before_it_is_cut() {
    let mut m = tenant_of(4);
    m.divide(SIZES, minter(1)).unwrap();
    let pages = m.pages.all().len();
    m.snapshots.extend((10..14).map(|n| snapshot(0, n)));
    m.divide(SIZES, minter(2)).unwrap();
    assert_eq!(m.pages.all().len(), pages, "eight entries");
    m.snapshots.push(snapshot(0, 14));
    let written = m.divide(SIZES, minter(3)).unwrap();
    assert_eq!(m.pages.all().len(), pages + 1);
    assert_eq!(written.len(), 2);
    assert_eq!(m.pages.all()[0].snapshots(), 7, "a folder is in one page");
    assert_eq!(m.pages.all()[1].from, "acme/d=0001");
}

#[test]
fn the_folders_of_a_page_without_content_go_to_the_one_before() {
    let mut m = tenant_of(6);
    m.divide(SIZES, minter(1)).unwrap();
    let of = |m: &Manifest, folder: &str| m.pages.place(folder).unwrap();
    assert_eq!(of(&m, "acme/d=0003"), 1);
    m.snapshots
        .retain(|s| !s.key.contains("d=0002") && !s.key.contains("d=0003"));
    m.divide(SIZES, minter(2)).unwrap();
    assert_eq!((m.pages.all().len(), of(&m, "acme/d=0003")), (2, 0));
    m.snapshots
        .retain(|s| !s.key.contains("d=0000") && !s.key.contains("d=0001"));
    m.divide(SIZES, minter(3)).unwrap();
    assert_eq!(m.pages.all().len(), 1);
    assert_eq!(m.pages.all()[0].from, "", "each folder has a page");
    m.snapshots.clear();
    m.divide(SIZES, minter(4)).unwrap();
    assert_eq!((m.pages.is_empty(), m.min_reader), (true, MIN_READER));
}

#[test]
fn there_are_never_too_many_pages() {
    let few = PageSizes { pages: 10, ..SIZES };
    let mut m = tenant_of(1_000);
    m.divide(few, minter(1)).unwrap();
    assert_eq!(m.pages.all().len(), 10);
}

#[test]
fn a_page_is_what_was_written_or_refused() {
    let mut m = tenant_of(9);
    let written = m.divide(SIZES, minter(1)).unwrap();
    let bare: Manifest = serde_json::from_slice(&m.document().unwrap()).unwrap();
    let (first, second) = (&written[0], &written[1]);
    let refusal = |id, body: &[u8], bare: &Manifest| bare.clone().take_in(id, body).unwrap_err();
    assert!(refusal(first.id, &second.body, &bare).contains("its hash is another"));
    assert!(refusal(FileId::NIL, &first.body, &bare).contains("not one of the manifest's pages"));
    // As if its hash agreed.
    let forged = |body: &[u8]| {
        let mut bare = bare.clone();
        bare.pages.refs[0].hash = PageHash::of(body);
        refusal(first.id, body, &bare)
    };
    assert!(forged(&second.body).contains("which another page holds"));
    assert!(forged(b"{").contains("is damaged"));
    let text = String::from_utf8(first.body.clone()).unwrap();
    let other = text.replacen("\"tenant\":\"acme\"", "\"tenant\":\"other\"", 1);
    assert!(forged(other.as_bytes()).contains("is of tenant `other`"));
    let newer = text.replacen("\"format\":1", "\"format\":2", 1);
    assert!(forged(newer.as_bytes()).contains("upgrade"));
}

#[test]
fn pages_out_of_order_are_refused() {
    let mut m = tenant_of(9);
    m.divide(SIZES, minter(1)).unwrap();
    let stored: serde_json::Value = serde_json::from_slice(&m.document().unwrap()).unwrap();
    let broken = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut stored = stored.clone();
        change(&mut stored);
        let m: Manifest = serde_json::from_value(stored).unwrap();
        m.check_pages().is_err()
    };
    assert!(!broken(&|_| {}));
    assert!(broken(&|m| m["pages"].as_array_mut().unwrap().swap(1, 2)));
    assert!(broken(&|m| _ = m["pages"].as_array_mut().unwrap().remove(0)));
    assert!(broken(&|m| m["pages"][2] = m["pages"][1].clone()));
    assert!(broken(
        &|m| m["snapshots"] = serde_json::json!([snapshot(1, 1)])
    ));
}

#[test]
fn a_newer_head_is_read_where_the_older_was() {
    let mut m = tenant_of(9);
    let written = m.divide(SIZES, minter(1)).unwrap();
    let document = m.document().unwrap();
    let bare = || serde_json::from_slice::<Manifest>(&document).unwrap();
    let mut known = bare();
    known.take_in(written[1].id, &written[1].body).unwrap();
    assert_eq!(
        bare().pages.read_by(&known.pages),
        BTreeSet::from([written[1].id])
    );
    assert!(bare().pages.read_by(&bare().pages).is_empty());
    // One that had no pages knew everything.
    assert_eq!(bare().pages.read_by(&head().pages).len(), written.len());
    // Other pages: of two folders that were in one.
    let mut fine = tenant_of(9);
    fine.divide(
        PageSizes {
            entries: 2,
            ..SIZES
        },
        minter(2),
    )
    .unwrap();
    let fine: Manifest = serde_json::from_slice(&fine.document().unwrap()).unwrap();
    let from: Vec<&str> = fine
        .pages
        .all()
        .iter()
        .filter(|p| fine.pages.read_by(&known.pages).contains(&p.id))
        .map(|p| p.from.as_str())
        .collect();
    assert_eq!(from, ["acme/d=0002", "acme/d=0003"]);
}

#[test]
fn retired_and_swept_files_lie_with_their_folder() {
    let mut m = tenant_of(3);
    let key = "acme/d=0001/raw.parquet".to_owned();
    m.retired.push(Retired {
        key: key.clone(),
        size: 1,
        etag: None,
        rows: 1,
        fingerprint: None,
        remembered: None,
        found: None,
        at: DateTime::UNIX_EPOCH,
        reason: RetireReason::Compacted,
    });
    let own = m.swept_in.entry("acme/d=0002".into()).or_default();
    own.remember(DateTime::UNIX_EPOCH, [("acme/d=0002/raw.parquet", None)]);
    let written = m
        .divide(
            PageSizes {
                entries: 2,
                ..SIZES
            },
            minter(1),
        )
        .unwrap();
    let back = read_back(&m.document().unwrap(), &written);
    assert_eq!(back, m);
    let open: Vec<bool> = back.pages.all().iter().map(|p| p.open).collect();
    assert_eq!(open, [false, true, false]);
    assert!(back.swept_name("acme/d=0002/raw.parquet").is_some());
    assert!(back.swept_name("acme/d=0001/raw.parquet").is_none());
}
