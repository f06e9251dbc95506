"""Runs a command and writes its wall and CPU seconds and peak memory to a file: from a small process, for a child's peak counts what it was forked from."""

import json
import os
import sys
import time

start = time.perf_counter()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
wall = time.perf_counter() - start
with open(sys.argv[1], "w", encoding="utf-8") as out:
    json.dump({"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "mib": usage.ru_maxrss / 1024}, out)
sys.exit(os.waitstatus_to_exitcode(status))
