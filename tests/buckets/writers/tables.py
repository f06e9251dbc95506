"""Tables with a state of their own, beside files that are nobody's."""

import json

import deltalake
import pyarrow as pa
from pyiceberg.catalog.memory import InMemoryCatalog

from .common import FILES, ROWS, Table, bucket, events, files, put, uid


def plain(store):
    for n, table in enumerate(files(0)):
        put(store / f"acme/dt=2026-01-01/{uid('plain', n)}.parquet", table)


PLAIN = Table("acme", "hive")


@bucket("delta", PLAIN, Table("lake/orders", "hive", readers=("delta",)), Table("lake/raw", "hive"))
def delta(store):
    """A partitioned table with a deleted version, and a folder of files beside it."""
    plain(store)
    for n, table in enumerate(files(0)):
        table = table.append_column("country", pa.array(["de", "fr", "de"] * 2))
        deltalake.write_deltalake(str(store / "lake/orders"), table, mode="append", partition_by=["country"])
        put(store / f"lake/raw/country=de/{n}.parquet", table.drop_columns(["country"]))
    deltalake.DeltaTable(str(store / "lake/orders")).delete("amount < 0")


@bucket("iceberg", PLAIN, Table("warehouse/shop/orders", readers=("iceberg",)))
def iceberg(store):
    plain(store)
    catalog = InMemoryCatalog("c", warehouse=f"file://{store}/warehouse")
    catalog.create_namespace("shop")
    table = None
    for batch in files(0, time=pa.timestamp("us")):
        table = table or catalog.create_table("shop.orders", batch.schema, location=f"file://{store}/warehouse/shop/orders")
        table.append(batch)


@bucket("hudi", PLAIN, Table("lake/trips", "hive"))
def hudi(store):
    """An imitation: a commit's name in `.hoodie`, file groups and their instants in the names."""
    plain(store)
    made = []
    for n, table in enumerate(files(0)):
        name = f"city=berlin/{uid('hudi', n)}-0_0-{n}-0_2026010100000{n}000.parquet"
        put(store / "lake/trips" / name, table, compression="gzip")
        made.append(name)
    state = store / "lake/trips/.hoodie"
    state.mkdir()
    (state / "hoodie.properties").write_text("hoodie.table.name=trips\nhoodie.table.type=COPY_ON_WRITE\nhoodie.table.version=6\n")
    (state / "20260101000000000.commit").write_text(json.dumps({"partitionToWriteStats": {"city=berlin": [{"path": p} for p in made]}}))
    (store / "lake/trips/city=berlin/.hoodie_partition_metadata").write_text("commitTime=20260101000000000\npartitionDepth=1\n")


@bucket("icepack", PLAIN, Table("backup"))
def another_store(store):
    """A copy of another icepack store, one folder deeper, and an object of an archive."""
    plain(store)
    for n, table in enumerate(files(0)):
        put(store / f"backup/hot/acme/2026-01/{n}.parquet", table)
    state = store / "backup/hot/_icepack"
    state.mkdir()
    (state / "store.json").write_text(json.dumps({"role": "store"}))
