"""Rows as Parquet files: what a SELECT gives into a file, and a file into a table.

Over HTTP, so it is the same for plain processes and containers. ClickHouse keeps the whole Parquet
of an INSERT in memory, so rows are parted into files of a bounded size before they are written. A
table is read back equal, whatever its types.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import urllib3

from infra.warehouse import names
from scripts.errors import Failure

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_CHUNK = 1024 * 1024
_FILE_BYTES = 1024**3
"""Of rows as they are in memory; a file of them is a fraction of that."""
_ROWS = 32_768
"""In a row group, which is in memory as a whole when it is written, and when it is read."""
_WRITE = {
    "max_threads": 1,
    # The answer is kept on ClickHouse's disk until it is whole: then it says how many rows it has,
    # and a failure is none that looks like rows.
    "wait_end_of_query": 1,
    "output_format_parquet_compression_method": "zstd",
    "output_format_parquet_row_group_size": _ROWS,
    "output_format_parquet_row_group_size_bytes": 32 * 1024**2,
    "output_format_parquet_parallel_encoding": 0,
}
_READ = {
    "max_threads": 1,
    "input_format_parquet_max_block_size": 8192,
    "input_format_parquet_prefer_block_bytes": 4 * 1024**2,
    "input_format_parquet_enable_row_group_prefetch": 0,
    "input_format_parquet_memory_high_watermark": 64 * 1024**2,
    # Below 10 MiB a part is compact: a wide one of a table with 76 columns takes 700 MiB to write.
    "min_insert_block_size_rows": 8192,
    "min_insert_block_size_bytes": 8 * 1024**2,
    "max_insert_delayed_streams_for_parallel_write": 0,
}


@dataclass(frozen=True)
class Written:
    """A file as it was written."""

    rows: int
    bytes: int
    sha256: str
    """Hex, of the file."""


def selects(
    client: Client,
    table: str,
    where: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    final: bool = False,
) -> list[str]:
    """Queries that together give all rows of a table of the database that meet a condition, each
    no more than one file should hold. An hour of a session stays together, so that a file packs as
    well as the table does."""
    source = f"FROM {names.DATABASE}.{table}{' FINAL' if final else ''} WHERE ({where})"
    given = dict(parameters or {})
    [(size,)] = client.query(f"SELECT sum(byteSize(*)) {source}", parameters=given).result_rows
    files = int(size) // _FILE_BYTES + 1
    if files == 1:
        return [f"SELECT * {source}"]
    [(key,)] = client.query(
        "SELECT if((SELECT count() FROM system.columns WHERE database = {db:String} "
        "AND table = {name:String} AND name IN ('ts', 'session_id')) = 2, "
        "'session_id, toStartOfHour(ts)', sorting_key) "
        "FROM system.tables WHERE database = {db:String} AND name = {name:String}",
        parameters={"db": names.DATABASE, "name": table},
    ).result_rows
    return [f"SELECT * {source} AND sipHash64({key}) % {files} = {file}" for file in range(files)]


def export(
    client: Client, select: str, file: Path, parameters: Mapping[str, Any] | None = None
) -> Written:
    """Write what a SELECT gives; the file (0600) is there whole or not at all. Raises Failure."""
    from clickhouse_connect.driver.exceptions import Error

    part = file.with_name(f".{file.name}.{os.getpid()}")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        stream = client.raw_stream(
            select, parameters=dict(parameters or {}), fmt="Parquet", settings=dict(_WRITE)
        )
        answer = cast(urllib3.HTTPResponse, stream)
        try:
            rows = int(json.loads(answer.headers["X-ClickHouse-Summary"])["result_rows"])
            size, digest = _copied(answer.stream(_CHUNK), part)
        finally:
            answer.release_conn()
        part.replace(file)
        sync_folder(file.parent)
    except (Error, urllib3.exceptions.HTTPError) as error:
        raise Failure(
            f"ClickHouse did not give all rows for {file}: {str(error).strip()}"
        ) from None
    except OSError as error:
        raise Failure(
            f"{file} cannot be written: {error.strerror or error}. Free space there, or name "
            "another folder."
        ) from None
    finally:
        part.unlink(missing_ok=True)
    return Written(rows, size, digest)


def _copied(chunks: Iterable[bytes], to: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of what was written, which is on disk when this returns."""
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        for chunk in chunks:
            digest.update(chunk)
            size += out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return size, digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """So that a power cut does not take away the names in it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(file: Path) -> str:
    """Of a file, hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def insert(client: Client, table: str, file: Path) -> None:
    """Insert a file's rows into a table of the database, column by name: what the file does not
    have gets its default. Not all or nothing: after a Failure some are there."""
    from clickhouse_connect.driver.exceptions import Error

    try:
        with file.open("rb") as stream:
            client.raw_insert(
                f"{names.DATABASE}.{table}",
                insert_block=iter(lambda: stream.read(_CHUNK), b""),  # type: ignore[arg-type]
                fmt="Parquet",
                settings=dict(_READ),
            )
    except Error as error:
        raise Failure(f"ClickHouse does not take {file}: {str(error).strip()}") from None
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror or error}.") from None
