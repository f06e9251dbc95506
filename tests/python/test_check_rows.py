"""Shows that check_rows.py fires: a check that never fails says nothing. Run by test.sh, with the interpreter it makes."""

import contextlib
import datetime
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import types
import unittest
import unittest.mock
import uuid

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

import check_rows

START = datetime.datetime(2026, 1, 1)
CUTOFF = START + datetime.timedelta(hours=50)


def event(number, **changes):
    row = {
        "event_id": f"id-{number}",
        "entity_id": f"entity-{number % 7}",
        "payload": f'{{"n":{number}}}',
        "timestamp": START + datetime.timedelta(hours=number),
        "metadata": None if number % 3 else "{}",
        "version": number,
    }
    return row | changes


SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("entity_id", pa.string()),
        ("payload", pa.string()),
        ("timestamp", pa.timestamp("us")),
        ("metadata", pa.string()),
        ("version", pa.uint64()),
    ]
)
EVENTS = [event(number) for number in range(100)]
OLD, NEW = EVENTS[:50], EVENTS[50:]


class CheckRows(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, rows, schema=SCHEMA):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=17)
        return str(path)

    def listing(self, name, paths):
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in paths))
        return str(path)

    def run_check(self, ingested, live, archive, *options, **environment):
        arguments = ["--ingested", ingested, "--live", live, "--archive", archive, *options]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), unittest.mock.patch.dict(os.environ, environment):
            code = check_rows.main(arguments)
        return types.SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())

    def check(self, *options, raw=EVENTS, live=NEW, archive=OLD, live_schema=SCHEMA, cutoff=CUTOFF):
        """The check over two raw files, a snapshot and an archive file."""
        self.write("raw/a.parquet", raw[::2])
        self.write("raw/b.parquet", raw[1::2])
        live = self.listing("live", [self.write("out/snapshot.acme.1.parquet", live, live_schema)])
        archive = self.listing("archive", [self.write("out/archive.acme.1.parquet", archive)] if archive else [])
        return self.run_check(str(self.folder / "raw"), live, archive, "--ttl-cutoff", f"{cutoff.isoformat()}Z", *options)

    def assert_ok(self, result):
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        self.assertEqual(len(result.stdout.splitlines()), 1)

    def assert_fires(self, result, *words):
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertTrue(result.stdout.startswith("FAILED: "), result.stdout)
        for word in words:
            self.assertIn(word, result.stdout)

    # What is right passes.

    def test_passes_when_nothing_is_wrong(self):
        result = self.check()
        self.assert_ok(result)
        self.assertIn("ok: 100 ingested (of them 0 duplicates), 50 live, 50 archived; 1 sorted snapshots", result.stdout)

    def test_exact_duplicates_may_go(self):
        self.assert_ok(self.check(raw=EVENTS + EVENTS[60:70] + EVENTS[:5]))

    def test_one_id_with_two_contents_is_two_rows(self):
        other = event(60, payload="other")
        self.assert_ok(self.check(raw=EVENTS + [other], live=NEW[:11] + [other] + NEW[11:]))
        self.assert_fires(self.check(raw=EVENTS + [other]), "lost: 1 rows", "event_id=id-60", "payload=other")

    def test_rows_without_an_id_are_not_duplicates(self):
        nameless = event(99, event_id=None)
        self.assert_ok(self.check(raw=EVENTS + [nameless] * 2, live=NEW + [nameless] * 2))
        self.assert_fires(self.check(raw=EVENTS + [nameless] * 2, live=NEW + [nameless]), "lost: 1 rows")

    def test_column_order_width_unit_and_null_columns_do_not_matter(self):
        wider = pa.schema(
            [
                ("version", pa.int64()),
                ("extra", pa.int32()),
                ("timestamp", pa.timestamp("ns")),
                ("payload", pa.dictionary(pa.int32(), pa.string())),
                ("metadata", pa.large_string()),
                ("event_id", pa.string()),
                ("entity_id", pa.string()),
            ]
        )
        self.assert_ok(self.check(live_schema=wider))

    def test_rows_without_a_plausible_time_stay_live(self):
        early, timeless = event(200, timestamp=datetime.datetime(1999, 1, 1)), event(201, timestamp=None)
        self.assert_ok(self.check(raw=EVENTS + [early, timeless], live=[early] + NEW + [timeless]))
        self.assert_fires(self.check(raw=EVENTS + [timeless], archive=OLD + [timeless]), "archived but not past the cutoff: 1 rows")

    def test_nothing_archived(self):
        self.assert_ok(self.check(live=EVENTS, archive=[], cutoff=START))

    # What is wrong does not.

    def test_a_lost_row(self):
        self.assert_fires(self.check(live=NEW[:20] + NEW[21:]), "lost: 1 rows", "event_id=id-70", "2026-01-03T22:00:00Z")

    def test_a_lost_archive(self):
        self.assert_fires(self.check(archive=[]), "lost: 50 rows")

    def test_a_doubled_row(self):
        self.assert_fires(self.check(live=NEW[:21] + NEW[20:]), "doubled: 1 rows", "event_id=id-70", "found 2 times")

    def test_a_row_both_live_and_archived(self):
        result = self.check(archive=OLD + NEW[:1])
        self.assert_fires(
            result, "doubled: 1 rows", "archived but not past the cutoff: 1 rows", "snapshot.acme.1", "archive.acme.1"
        )

    def test_a_duplicate_that_is_still_there(self):
        doubled = {"raw": EVENTS + [EVENTS[70]], "live": NEW[:21] + NEW[20:]}
        self.assert_fires(self.check(**doubled), "doubled: 1 rows")
        self.assert_ok(self.check("--allow-duplicates", **doubled))

    def test_a_row_that_was_never_ingested(self):
        self.assert_fires(self.check(live=NEW + [event(100)]), "never ingested: 1 rows", "event_id=id-100")

    def test_a_change_in_any_column(self):
        changes = [
            {"entity_id": "entity-x"},
            {"payload": '{"n":71}'},
            {"timestamp": EVENTS[70]["timestamp"] + datetime.timedelta(microseconds=1)},
            {"metadata": ""},
            {"version": 71},
            {"entity_id": EVENTS[70]["payload"], "payload": EVENTS[70]["entity_id"]},
        ]
        for change in changes:
            with self.subTest(change):
                live = NEW[:20] + [event(70, **change)] + NEW[21:]
                self.assert_fires(self.check(live=live), "lost: 1 rows", "never ingested: 1 rows")

    def test_an_unsorted_snapshot(self):
        self.assert_fires(self.check(live=NEW[:20] + [NEW[21], NEW[20]] + NEW[22:]), "not sorted by time", "snapshot.acme.1")
        timeless = event(200, timestamp=None)
        self.assert_fires(self.check(raw=EVENTS + [timeless], live=NEW[:9] + [timeless] + NEW[9:]), "not sorted by time")

    def test_order_is_checked_across_batches(self):
        for batches, fault in [
            ([[1, 2], [], [2, 3]], None),
            ([[1, 3], [2, 4]], "comes after"),
            ([[1, 3], [None], [2]], "comes after"),
            ([[None, 1], [2]], None),
            ([[1, 2], [None, None], [None]], None),
            ([[1, 2], [None], [None, 3]], "without a time"),
            ([[None], [1, 2], [None]], "without a time"),
        ]:
            with self.subTest(batches):
                check = check_rows.SortCheck()
                for batch in batches:
                    check.see(pa.array(batch, pa.timestamp("us")))
                self.assertIn(fault or "", check.fault or "")
                self.assertEqual(check.fault is None, fault is None)

    def test_the_command_exits_with_the_verdict(self):
        rows = self.write("a.parquet", EVENTS)
        command = [sys.executable, check_rows.__file__, "--ingested", rows, "--archive", self.listing("archive", []), "--live"]
        for live, code in ((rows, 0), (self.listing("live", []), 1), ("nowhere", 2)):
            self.assertEqual(subprocess.run([*command, live], check=False, capture_output=True, timeout=120).returncode, code)

    def test_a_live_row_past_the_cutoff(self):
        self.assert_fires(self.check(live=EVENTS[49:], archive=OLD[:49]), "live but past the cutoff: 1 rows")
        slack = (CUTOFF - datetime.timedelta(hours=1)).isoformat()
        self.assert_ok(self.check("--live-cutoff", slack, live=EVENTS[49:], archive=OLD[:49]))

    def test_a_file_that_cannot_be_read(self):
        self.write("raw/c.parquet", EVENTS)
        bad = self.folder / "raw/d.parquet"
        bad.write_bytes((self.folder / "raw/c.parquet").read_bytes()[:-100])
        result = self.check()
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertIn("cannot read", result.stderr)
        self.assertIn("d.parquet", result.stderr)
        self.assertNotIn("Traceback", result.stderr)

    def test_nothing_ingested_is_no_answer(self):
        nothing = self.listing("nothing", [])
        result = self.run_check(nothing, nothing, nothing)
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertIn("no Parquet files in", result.stderr)

    @unittest.skipUnless(os.environ.get("ICEPACK_TEST_S3"), "no S3 server: ICEPACK_TEST_S3 is not set")
    def test_on_s3(self):
        endpoint = os.environ["ICEPACK_TEST_S3"]
        keys = {"AWS_ACCESS_KEY_ID": os.environ.get("AWS_ACCESS_KEY_ID", "test")}
        keys["AWS_SECRET_ACCESS_KEY"] = os.environ.get("AWS_SECRET_ACCESS_KEY", "test")
        s3 = pafs.S3FileSystem(
            endpoint_override=endpoint.split("://")[1],
            scheme=endpoint.split("://")[0],
            region="us-east-1",
            access_key=keys["AWS_ACCESS_KEY_ID"],
            secret_key=keys["AWS_SECRET_ACCESS_KEY"],
            allow_bucket_creation=True,
            allow_bucket_deletion=True,
        )
        bucket = f"check-rows-{uuid.uuid4()}"
        s3.create_dir(bucket)
        self.addCleanup(s3.delete_dir, bucket)
        for name, rows in (("raw/a", EVENTS[:30]), ("raw/b", EVENTS[30:]), ("snapshot.x", NEW), ("cold/archive.x", OLD)):
            pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), f"{bucket}/{name}.parquet", filesystem=s3)
        url = f"s3://{bucket}"
        live = self.listing("live", [f"{url}/snapshot.x.parquet"])
        options = ["--ttl-cutoff", CUTOFF.isoformat()]
        self.assert_ok(self.run_check(f"{url}/raw", live, f"{url}/cold/", *options, AWS_ENDPOINT_URL=endpoint, **keys))
        result = self.run_check(f"{url}/raw", live, f"{url}/elsewhere", AWS_ENDPOINT_URL=endpoint, **keys)
        self.assert_fires(result, "lost: 50 rows")


if __name__ == "__main__":
    unittest.main()
