"""Writes Parquet files whose pages have checksums, sound and with one byte changed, and files that are encrypted: by pyarrow, into a directory.

    write_odd_files.py DIR

sound-*.parquet must be read, flipped-*.parquet must be found out by their checksum, and encrypted-*.parquet must be called encrypted.
"""

import base64
import datetime
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

ROWS = 10
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0, tzinfo=None)


def table():
    times = [NOW - datetime.timedelta(minutes=i) for i in range(ROWS)]
    payload = ["even" if i % 2 == 0 else "odd" for i in range(ROWS)]
    return pa.table({"timestamp": pa.array(times, pa.timestamp("us")), "payload": payload})


def is_found_out(path):
    try:
        pq.read_table(path, page_checksum_verification=True)
    except OSError as e:
        return "CRC" in str(e)
    return False


def checksums(directory):
    for version in ("1.0", "2.0"):
        for compression in ("none", "snappy", "gzip", "zstd"):
            name = f"{version}-{compression}"
            sound = directory / f"sound-{name}.parquet"
            pq.write_table(table(), sound, data_page_version=version, compression=compression, write_page_checksum=True)
            assert not is_found_out(sound), sound
            column = pq.ParquetFile(sound).metadata.row_group(0).column(1)
            start = column.dictionary_page_offset
            # The last byte of the dictionary, and of the page behind it.
            for what, at in (("dictionary", column.data_page_offset - 1), ("data", start + column.total_compressed_size - 1)):
                data = bytearray(sound.read_bytes())
                data[at] ^= 0x01
                flipped = directory / f"flipped-{name}-{what}.parquet"
                flipped.write_bytes(data)
                assert is_found_out(flipped), flipped


class Keys(pe.KmsClient):
    """Wraps a key by writing it down: good enough for nobody to read."""

    def __init__(self, _connection):
        super().__init__()

    def wrap_key(self, key_bytes, _master_key):
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key, _master_key):
        return base64.b64decode(wrapped_key)


def encrypted(directory):
    for footer in ("plain", "encrypted"):
        configuration = pe.EncryptionConfiguration(footer_key="footer", column_keys={"column": ["payload"]}, plaintext_footer=footer == "plain")
        properties = pe.CryptoFactory(Keys).file_encryption_properties(pe.KmsConnectionConfig(), configuration)
        with pq.ParquetWriter(directory / f"encrypted-{footer}-footer.parquet", table().schema, encryption_properties=properties) as writer:
            writer.write_table(table())


if __name__ == "__main__":
    where = pathlib.Path(sys.argv[1])
    checksums(where)
    encrypted(where)
