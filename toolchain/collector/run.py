#!/usr/bin/env python3
"""Runs the collector and guards its queue where the collector itself would lose or refuse it.

- A full disk: the collector drops a queued request when it cannot note on disk that it took it up.
  So it is stopped while there is still room, and started again once there is some. Its closed port
  costs Claude Code nothing.
- A queue file that cannot be read: the collector would refuse to start, for ever. Such a file is
  set aside (`*.backup`) and a new one begins.

Standard library only, because it runs beside the collector all the time. Ends when its parent does,
and takes the collector along. Exit code: the collector's; 0 after a signal.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

_POLL_SECONDS = 0.5
_STOP_SECONDS = 25
_PR_SET_PDEATHSIG = 1
_SETTLED_SECONDS = 5
"""A collector that lived this long has opened its queue."""
_UNREADABLE = (b"go.etcd.io/bbolt", b"invalid database", b"file size too small")
"""What it says when it cannot."""


def say(message: str) -> None:
    """Into the supervised log."""
    print(f"collector: {message}", flush=True)


class Mender:
    """Finds the queue file that keeps the collector from starting, and sets that one aside.

    The collector does not name it, so each is tried: the files one by one, then all together. One
    that was not to blame is put back.
    """

    def __init__(self, queue: Path) -> None:
        self.queue = queue
        self.tried = 0
        self.moved: list[tuple[Path, Path]] = []

    def files(self) -> list[Path]:
        """Queue files in use."""
        return sorted(f for f in self.queue.glob("exporter_*") if not f.name.endswith(".backup"))

    def try_next(self) -> bool:
        """Set another suspect aside; False when there is none left."""
        for file, aside in self.moved:
            aside.replace(file)
        self.moved = []
        files = self.files()
        suspects = [*([file] for file in files), files]
        if not files or self.tried >= len(suspects):
            return False
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        for file in suspects[self.tried]:
            aside = file.with_name(f"{file.name}.{stamp}.backup")
            file.rename(aside)
            self.moved.append((file, aside))
        self.tried += 1
        return True

    def settled(self) -> None:
        """The collector runs: what is aside stays there, and is told."""
        for file, aside in self.moved:
            say(f"{file} cannot be read; it is set aside as {aside.name} and a new queue began")
        self.moved, self.tried = [], 0


def end_predecessor(pid_file: Path, mark: str) -> None:
    """Stop a collector whose guard was killed where the system does not do that by itself."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        command = subprocess.run(
            ["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True
        ).stdout
        if mark in command:
            os.kill(pid, signal.SIGTERM)
            for _ in range(int(_STOP_SECONDS / _POLL_SECONDS)):
                os.kill(pid, 0)
                time.sleep(_POLL_SECONDS)


def _die_with_parent() -> None:
    """In the child, on Linux: SIGKILL when the guard is gone."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Guard:
    """The collector, while there is room for its queue."""

    def __init__(self, command: list[str], queue: Path, reserve: int, pid_file: Path) -> None:
        self.command = command
        self.queue = queue
        self.reserve = reserve
        self.pid_file = pid_file
        self.child: subprocess.Popen[bytes] | None = None
        self.began = 0.0
        self.unreadable = False
        self.mender = Mender(queue)
        self.stopping = False
        self.parent = os.getppid()

    def free(self) -> int:
        """Bytes left on the queue's disk."""
        return shutil.disk_usage(self.queue).free

    def start(self) -> None:
        """Start the collector."""
        linux = sys.platform.startswith("linux")
        self.child = subprocess.Popen(
            self.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent if linux else None,
        )
        self.began, self.unreadable = time.monotonic(), False
        threading.Thread(target=self._pass_on, args=(self.child,), daemon=True).start()
        with contextlib.suppress(OSError):
            self.pid_file.write_text(str(self.child.pid))

    def _pass_on(self, child: subprocess.Popen[bytes]) -> None:
        """Its output into ours, with an eye on the queue."""
        assert child.stdout is not None
        for line in child.stdout:
            self.unreadable = self.unreadable or any(sign in line for sign in _UNREADABLE)
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()

    def ended(self, child: subprocess.Popen[bytes]) -> int | None:
        """What the end of the collector means: an exit code, or None to try again."""
        lived = time.monotonic() - self.began
        time.sleep(_POLL_SECONDS)  # its last lines
        # Only at a start: one that has run for a while had opened its queue.
        if self.unreadable and lived < 2 * _SETTLED_SECONDS and self.mender.try_next():
            self.start()
            return None
        return child.returncode if child.returncode > 0 else 1

    def stop(self) -> None:
        """Stop it and wait."""
        if self.child is None:
            return
        self.child.terminate()
        try:
            self.child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child = None

    def run(self) -> int:
        """Until a signal, the parent's end, or the collector's own end."""
        waiting = False
        while not self.stopping and os.getppid() == self.parent:
            child = self.child
            if child is not None and child.poll() is not None:
                code = self.ended(child)
                if code is not None:
                    return code
            elif child is not None and time.monotonic() - self.began > _SETTLED_SECONDS:
                self.mender.settled()
            free = self.free()
            if self.child is not None and free < self.reserve:
                say(f"stopped: {free // 1024**2} MiB are left at {self.queue}; free some")
                self.stop()
                waiting = True
            elif self.child is None and free >= self.reserve * (5 if waiting else 4) // 4:
                self.start()
                waiting = False
            elif self.child is None and not waiting:
                say(f"not started: {free // 1024**2} MiB are left at {self.queue}; free some")
                waiting = True
            time.sleep(_POLL_SECONDS)
        self.stop()
        return 0


def main() -> int:
    """What the supervisor calls."""
    parser = argparse.ArgumentParser(description="Run the collector and guard its queue")
    parser.add_argument("--queue", required=True, type=Path, help="folder of the queue")
    parser.add_argument("--reserve-mib", required=True, type=int, help="MiB that must stay free")
    parser.add_argument("--pid-file", required=True, type=Path, help="where the pid is noted")
    parser.add_argument("command", nargs="+", help="the collector and its arguments, after --")
    args = parser.parse_args()
    args.queue.mkdir(mode=0o700, parents=True, exist_ok=True)
    end_predecessor(args.pid_file, args.command[-1])
    guard = Guard(args.command, args.queue, args.reserve_mib * 1024**2, args.pid_file)

    def stop(*_: object) -> None:
        guard.stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return guard.run()


if __name__ == "__main__":
    sys.exit(main())
