"""Changes a Delta table as its users might, without icepack.

    change_table.py TABLE append|delete|update|merge|optimize|overwrite|restore

The table has the columns `event_id`, `timestamp` and `version`.
"""

import sys

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from leave import leave

place, what = sys.argv[1:]
table = DeltaTable(place)
rows = table.to_pyarrow_table()
half = rows.slice(0, rows.num_rows // 2)
match what:
    case "append":
        ids = pa.array([f"appended-{i}" for i in range(half.num_rows)])
        write_deltalake(table, half.set_column(half.schema.get_field_index("event_id"), "event_id", ids), mode="append")
    case "delete":
        table.delete("event_id < 'event-000005'")
    case "update":
        table.update(new_values={"version": "99"}, predicate="event_id < 'event-000005'")
    case "merge":
        merge = table.merge(half, "t.event_id = s.event_id", source_alias="s", target_alias="t")
        merge.when_matched_delete().execute()
    case "optimize":
        table.optimize.compact()
    case "overwrite":
        write_deltalake(table, half, mode="overwrite")
    case "restore":
        table.restore(0)
leave()
