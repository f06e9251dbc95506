"""The check finds what it is for."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import check_filters

BASE = 1_700_000_000_000_000


def events(count):
    times = pa.array([BASE + 1_000_000 * n for n in range(count)], pa.timestamp("us"))
    return pa.table({"event_id": [f"e{n}" for n in range(count)], "timestamp": times})


class CheckFilters(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = str(pathlib.Path(directory.name) / "x.parquet")

    def verdict(self):
        out = io.StringIO()
        with mock.patch.object(sys, "argv", ["check_filters.py", self.path]), contextlib.redirect_stdout(out):
            return check_filters.main(), out.getvalue()

    def test_a_good_file_passes(self):
        pq.write_table(events(1_000), self.path, row_group_size=300, write_page_index=True)
        code, text = self.verdict()
        self.assertEqual(code, 0, text)
        self.assertIn("1000 rows in 4 row groups", text)

    def test_a_file_without_an_index_of_pages_does_not(self):
        pq.write_table(events(1_000), self.path, row_group_size=300)
        code, text = self.verdict()
        self.assertEqual(code, 1, text)
        self.assertIn("no index of pages", text)

    def test_a_reader_that_finds_fewer_rows_is_found(self):
        pq.write_table(events(100), self.path, write_page_index=True)
        whole = pq.read_table
        with mock.patch.object(check_filters.pq, "read_table", lambda *a, **k: whole(*a, **k).slice(1)):
            code, text = self.verdict()
        self.assertEqual(code, 1, text)
        self.assertIn("pyarrow finds 3 rows", text)


if __name__ == "__main__":
    unittest.main()
