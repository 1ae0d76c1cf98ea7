"""Rows as Parquet files: what a SELECT gives into a file, and a file into a table.

Over HTTP, so it is the same for plain processes and containers; as a stream, so memory does not
grow with the rows, neither here nor in ClickHouse. A table is read back equal, whatever its types.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import urllib3

from infra.warehouse import names
from scripts.errors import Failure

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_MAGIC = b"PAR1"
_CHUNK = 1024 * 1024
_PIECE = 16 * 1024 * 1024
"""So much of a file is sent at once: ClickHouse keeps the whole Parquet of an INSERT in memory."""
_ROWS = 32_768
"""In a row group, which is in memory as a whole when it is written, and when it is read."""
_WRITE = {
    "max_threads": 1,
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
            size, digest = _copied(answer.stream(_CHUNK), part)
        finally:
            answer.release_conn()
        rows = Footer.read(part).rows
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


def insert(
    client: Client, table: str, file: Path, told: Callable[[int], None] = lambda _rows: None
) -> int:
    """Insert a file's rows into a table of the database, column by name; how many.

    Not all or nothing: after a Failure some are there. `told` hears how many have been sent.
    """
    from clickhouse_connect.driver.exceptions import Error

    try:
        footer = Footer.read(file)
        for piece in footer.pieces():
            client.raw_insert(
                f"{names.DATABASE}.{table}",
                column_names=footer.columns,
                insert_block=piece.stream(),  # type: ignore[arg-type]  # any iterator does
                fmt="Parquet",
                settings=dict(_READ),
            )
            told(piece.rows)
    except Error as error:
        raise Failure(f"ClickHouse does not take {file}: {str(error).strip()}") from None
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror or error}.") from None
    return footer.rows


# --- The end of a Parquet file says what is in it: a struct in Thrift's compact form. Fields below
# are called by their numbers in parquet.thrift; all that is not known here is kept as it is.

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)
_Struct = dict[int, tuple[int, Any]]
"""Fields in order: number to type and value."""

_SCHEMA, _NUM_ROWS, _ROW_GROUPS = 2, 3, 4  # FileMetaData
_NAME, _CHILDREN = 4, 5  # SchemaElement
_CHUNKS, _GROUP_ROWS, _GROUP_OFFSET = 1, 3, 5  # RowGroup
_CHUNK_OFFSET, _META = 2, 3  # ColumnChunk
_PACKED, _DATA, _INDEX, _DICTIONARY = 7, 9, 10, 11  # ColumnMetaData
_INDICES, _BLOOM = (
    (4, 5, 6, 7),
    (14, 15),
)  # of ColumnChunk and ColumnMetaData: elsewhere in the file


@dataclass(frozen=True)
class Piece:
    """Some row groups of a file, as a Parquet file of their own."""

    file: Path
    rows: int
    begin: int
    end: int
    footer: bytes

    def stream(self) -> Iterator[bytes]:
        """Its bytes."""
        yield _MAGIC
        with self.file.open("rb") as source:
            source.seek(self.begin)
            left = self.end - self.begin
            while left and (chunk := source.read(min(_CHUNK, left))):
                left -= len(chunk)
                yield chunk
        yield self.footer + len(self.footer).to_bytes(4, "little") + _MAGIC


@dataclass(frozen=True)
class Footer:
    """What the end of a file says is in it."""

    file: Path
    fields: _Struct

    @staticmethod
    def read(file: Path) -> Footer:
        """Raises Failure where the file is no Parquet, or not whole."""
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 8))
            tail = stream.read()
            length = int.from_bytes(tail[:4], "little")
            if tail[4:] != _MAGIC or length > size - 12:
                raise Failure(f"{file} is no whole Parquet file.")
            stream.seek(size - 8 - length)
            return Footer(file, _Reader(stream.read(length)).struct())

    @property
    def rows(self) -> int:
        """Of the file."""
        return int(self.fields[_NUM_ROWS][1])

    @property
    def columns(self) -> list[str]:
        """Names, in order."""
        elements = iter(self.fields[_SCHEMA][1][1])
        found = []

        def skip(element: _Struct) -> None:
            for _ in range(element.get(_CHILDREN, (0, 0))[1]):
                skip(next(elements))

        root = next(elements)
        for _ in range(root[_CHILDREN][1]):
            column = next(elements)
            found.append(column[_NAME][1].decode())
            skip(column)
        return found

    def pieces(self) -> Iterator[Piece]:
        """The file in pieces of whole row groups, each not much larger than it must be."""
        taken: list[_Struct] = []
        for group in self.fields[_ROW_GROUPS][1][1]:
            taken.append(group)
            if _end(group) - _begin(taken[0]) >= _PIECE:
                yield self._piece(taken)
                taken = []
        if taken:
            yield self._piece(taken)

    def _piece(self, groups: Sequence[_Struct]) -> Piece:
        begin, end = _begin(groups[0]), _end(groups[-1])
        rows = sum(group[_GROUP_ROWS][1] for group in groups)
        moved = [_moved(group, begin - len(_MAGIC)) for group in groups]
        fields = {
            **self.fields,
            _NUM_ROWS: (self.fields[_NUM_ROWS][0], rows),
            _ROW_GROUPS: (_LIST, (_STRUCT, moved)),
        }
        return Piece(self.file, rows, begin, end, _struct(fields))


def _chunks(group: _Struct) -> Iterator[_Struct]:
    """What is said of each column of a row group."""
    for chunk in group[_CHUNKS][1][1]:
        yield chunk[_META][1]


def _first(meta: _Struct) -> int:
    """Where a column's bytes begin."""
    return min(int(meta[field][1]) for field in (_DATA, _DICTIONARY) if field in meta)


def _begin(group: _Struct) -> int:
    return min(map(_first, _chunks(group)))


def _end(group: _Struct) -> int:
    return max(int(_first(meta) + meta[_PACKED][1]) for meta in _chunks(group))


def _moved(group: _Struct, by: int) -> _Struct:
    """The same row group, so many bytes nearer to the file's begin, without its indices."""

    def nearer(struct: _Struct, fields: tuple[int, ...], without: tuple[int, ...]) -> _Struct:
        return {
            number: (kind, max(0, value - by) if number in fields else value)
            for number, (kind, value) in struct.items()
            if number not in without
        }

    def chunk(struct: _Struct) -> _Struct:
        meta = nearer(struct[_META][1], (_DATA, _INDEX, _DICTIONARY), _BLOOM)
        return {**nearer(struct, (_CHUNK_OFFSET,), _INDICES), _META: (_STRUCT, meta)}

    chunks = [chunk(each) for each in group[_CHUNKS][1][1]]
    return {**nearer(group, (_GROUP_OFFSET,), ()), _CHUNKS: (_LIST, (_STRUCT, chunks))}


class _Reader:
    """Thrift's compact form, read."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def _take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def struct(self) -> _Struct:
        fields: _Struct = {}
        number = 0
        while head := self._take(1)[0]:
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 0x0F
            fields[number] = (kind, None if kind in (_TRUE, _FALSE) else self._value(kind))
        return fields

    def _value(self, kind: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind == _BINARY:
            return self._take(self._varint())
        if kind in (_LIST, _SET):
            head = self._take(1)[0]
            count = head >> 4 if head >> 4 != 0x0F else self._varint()
            return head & 0x0F, [self._value(head & 0x0F) for _ in range(count)]
        if kind == _STRUCT:
            return self.struct()
        if kind in (_TRUE, _FALSE, _BYTE, _DOUBLE):
            return self._take(8 if kind == _DOUBLE else 1)
        raise Failure(f"A Parquet footer has a field of the unknown type {kind}.")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _integer(value: int) -> bytes:
    return _varint((value << 1) ^ (value >> 63))


def _struct(fields: _Struct) -> bytes:
    out, last = b"", 0
    for number, (kind, value) in fields.items():
        near = 0 < number - last < 16
        out += bytes(((number - last) << 4 | kind,)) if near else bytes((kind,)) + _integer(number)
        out += b"" if kind in (_TRUE, _FALSE) else _value(kind, value)
        last = number
    return out + b"\0"


def _value(kind: int, value: Any) -> bytes:
    if kind in _INTEGERS:
        return _integer(value)
    if kind == _BINARY:
        return _varint(len(value)) + bytes(value)
    if kind in (_LIST, _SET):
        element, values = value
        short = len(values) < 0x0F
        head = bytes((len(values) << 4 | element,)) if short else bytes((0xF0 | element,))
        head += b"" if short else _varint(len(values))
        return head + b"".join(_value(element, each) for each in values)
    return _struct(value) if kind == _STRUCT else bytes(value)
