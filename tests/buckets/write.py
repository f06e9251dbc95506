"""Writes the buckets of `writers/`: what real writers leave behind.

    write.py DIR [NAME …]

Each lies in `DIR/<name>`. Prints the names.
"""

import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "python")]

from leave import leave  # noqa: E402
from writers import BUCKETS  # noqa: E402

if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1]).resolve()
    for name in sys.argv[2:] or BUCKETS:
        (root / name).mkdir(parents=True)
        BUCKETS[name][0](root / name)
        print(name)
    leave()
