#!/usr/bin/env python3
"""A ClickHouse server out of libchdb, for machines that have neither ClickHouse nor Docker.

libchdb holds the whole of `clickhouse local`, which can listen for HTTP and runs files of
statements one after the other. It has no command that keeps it running, so the second of three
files is a FIFO that nobody writes to: reading it blocks without using CPU. SIGTERM or SIGINT closes
the FIFO, the third file stops listening and flushes the log tables, and the server ends as after
any last statement. (Reading the FIFO by a statement would work too, but the engine's passwordless
local user would then need the right to read files.)

HTTP only: the native listener of this engine can be brought down by a wrong password. Standard
library only, because it runs before and beside everything else.

Exit codes: 0 after a signal, 1 when the engine refused to start or failed, 2 when used wrongly.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

_STACK_BYTES = 64 * 1024 * 1024  # the engine's main thread overflows Python's default stack
_POLL_SECONDS = 0.5
_LOOK_SECONDS = 5


def arguments() -> argparse.Namespace:
    """What the supervisor passes."""
    parser = argparse.ArgumentParser(description="ClickHouse server (HTTP) out of libchdb")
    parser.add_argument("--lib", required=True, help="path of libchdb.so or libchdb.dylib")
    parser.add_argument("--config", required=True, help="server configuration (XML)")
    parser.add_argument("--path", required=True, type=Path, help="data folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", required=True, type=int, help="HTTP port")
    return parser.parse_args()


def locked(folder: Path) -> int:
    """Keep a second server out of the same data; the lock ends with the process."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / ".server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"clickhouse: {folder} is in use by another server")
    return handle


def keepalive(folder: Path) -> tuple[Path, int]:
    """A fresh FIFO and its open write end (opened for both, which never blocks)."""
    fifo = folder / ".keepalive.fifo"
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo, 0o600)
    return fifo, os.open(fifo, os.O_RDWR)


class Deaf:
    """Whether a server that listened has stopped to: its engine lets any local user do that."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self.heard = False
        self.missed = 0
        self.next = 0.0

    def look(self) -> bool:
        """Try the port every few seconds; true after two misses."""
        if time.monotonic() < self.next:
            return False
        self.next = time.monotonic() + _LOOK_SECONDS
        try:
            socket.create_connection(self.address, timeout=1).close()
        except TimeoutError:
            return False  # busy is not deaf
        except OSError:
            self.missed += self.heard
            return self.missed > 1
        self.heard, self.missed = True, 0
        return False


def main() -> int:
    """Start, wait for a signal or for the parent's end, stop."""
    args = arguments()
    os.umask(0o077)
    lock = locked(args.path)
    fifo, writer = keepalive(args.path)
    first, last = args.path / ".start.sql", args.path / ".stop.sql"
    first.write_text("SYSTEM START LISTEN HTTP;\n")
    last.write_text("SYSTEM STOP LISTEN QUERIES ALL; SYSTEM FLUSH LOGS;\n")
    argv = [
        "clickhouse-local",
        f"--config-file={args.config}",
        f"--path={args.path}",
        f"--listen_host={args.host}",
        f"--http_port={args.port}",
        "--log-level=error",  # `warning` writes several lines a second about its own pools
        f"--queries-file={first}",
        f"--queries-file={fifo}",
        f"--queries-file={last}",
    ]
    library = ctypes.CDLL(args.lib)
    run = library.chdb_query_cmdline
    run.restype = ctypes.c_void_p
    library.chdb_result_error.restype = ctypes.c_char_p
    library.chdb_result_error.argtypes = [ctypes.c_void_p]

    failed: list[str] = []
    ended = threading.Event()

    def serve() -> None:
        raw = [argument.encode() for argument in argv]
        result = run(len(raw), (ctypes.c_char_p * len(raw))(*raw))
        error = library.chdb_result_error(result) if result else b"the engine gave no result"
        if error:
            failed.append(error.decode(errors="replace"))
        ended.set()

    stopping = threading.Event()

    def stop(*_: object) -> None:
        if not stopping.is_set():
            stopping.set()
            os.close(writer)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)

    threading.stack_size(_STACK_BYTES)
    threading.Thread(target=serve, daemon=True).start()
    parent = os.getppid()
    deaf = Deaf(args.host, args.port)
    while not ended.wait(_POLL_SECONDS):
        if os.getppid() != parent:  # the supervisor is gone; its successor needs the port
            stop()
        elif not stopping.is_set() and deaf.look():
            failed.append(f"no longer listens on port {args.port}; the supervisor starts it anew")
            stop()
    if not stopping.is_set() and not failed:
        failed.append("the engine ended by itself")
    fifo.unlink(missing_ok=True)
    os.close(lock)
    for message in failed:
        print(f"clickhouse: {message}", file=sys.stderr, flush=True)
    # The engine leaves threads behind that a normal interpreter shutdown would wait for.
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    sys.exit(main())
