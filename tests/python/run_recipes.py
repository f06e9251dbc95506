"""Runs every Python example of docs/reading.md, as it stands there.

    run_recipes.py PATH_OF_THE_PAGE TABLES_URL [NAME_TO_LEAVE_OUT]

An example that begins with the name of a file is written to that file; any other must print a number. `icepack` must be on the PATH, and ICEPACK_STORE set. The
examples of the Delta table call `table_url` and `storage_options`, which are defined here. Prints one line of JSON: the numbers, by the engine that is imported first.
"""

import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import tempfile

page, tables, left_out = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
here = pathlib.Path(__file__).parent
ENGINES = ("datafusion", "duckdb", "polars", "deltalake", "pyarrow", "chdb", "pyspark")
# Of scripts/try-engines.sh alone.
LARGE = ("chdb", "pyspark")
PRELUDE = f"""
import sys
sys.path.insert(0, {str(here)!r})
from leave import leave
from read_table import storage_options
table_url = lambda tenant: {tables!r} + "/" + tenant
try:
    from filesystem import filesystem
except ImportError:
    pass
"""

blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE)
numbers = []
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    examples = []
    for block in blocks:
        if name := re.match(r"# (\w+\.py)\n", block):
            (folder / name[1]).write_text(block)
        else:
            examples.append(block)
    for block in examples:
        engine = next(e for e in ENGINES if f"import {e}" in block or f"from {e}" in block)
        name = f"{engine} {'table' if 'table_url' in block else 'view'}"
        if name in left_out or (engine in LARGE and not importlib.util.find_spec(engine)):
            continue
        script = folder / "example.py"
        script.write_text(PRELUDE + block + "leave()\n")
        done = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"this example fails:\n{block}\n{done.stderr}")
        numbers.append([name, int(done.stdout.split()[-1])])
print(json.dumps(dict(numbers)))
