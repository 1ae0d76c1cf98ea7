#!/usr/bin/env python3
"""Entrypoint of the ClickHouse test image: libchdb behaving as the official image's server.

The image runs this file by itself: nothing but the standard library and the files beside it
(merge.py, and server.py of toolchain/clickhouse, which does the serving).

As in the official image: configuration from /etc/clickhouse-server with config.d and users.d
merged over it (CLICKHOUSE_CONFIG names another file), data below `path`, HTTP on `http_port` of
`listen_host` with /ping, a command given to the container runs in place of the server, a start as
root hands `path` to uid and gid 101 and goes on as these, SIGTERM stops cleanly with code 0, a
configuration that cannot be used ends with a code other than 0.

Different from the official image, because clickhouse-local has these limits:

1. HTTP only: `tcp_port`, `https_port` and the other ports are ignored; one address is listened
   on, 0.0.0.0 where any `listen_host` is a wildcard, else the first one.
2. The user `default` exists even where users.d removed it, without password, from loopback inside
   the container only, with no right but SYSTEM LISTEN and SYSTEM FLUSH LOGS.
3. System logs are Memory tables of at most 20 000 rows, empty after a restart: their `engine`,
   `partition_by`, `order_by` and `ttl` are ignored.
4. Users, roles and grants come from users.d only: CREATE USER and the like are refused, and
   `access_control_improvements` is ignored.
5. Garbage on the port kills the process; the container's restart policy brings it back.
6. Where `max_server_memory_usage` is not given, it is worked out here from the container's memory
   limit and `max_server_memory_usage_to_ram_ratio`.
7. CLICKHOUSE_USER, CLICKHOUSE_PASSWORD, CLICKHOUSE_DB and files in /docker-entrypoint-initdb.d
   are refused at the start rather than silently ignored, and so are YAML configuration files.
8. Only errors are logged, to stderr; `logger` is ignored.
9. Users are not read anew while it runs: when a file of users.d changes, the server is started
   again with what stands there then. What cannot be read is left out until it can, as there.
10. The function file() looks for relative paths in the working folder, which therefore is that of
    `user_files_path`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from merge import BadConfigError, merged  # type: ignore[import-not-found]

HERE = Path(__file__).parent
CONFIG = Path(os.environ.get("CLICKHOUSE_CONFIG", "/etc/clickhouse-server/config.xml"))
INIT_SCRIPTS = Path("/docker-entrypoint-initdb.d")
DATA = "/var/lib/clickhouse/"
UID = GID = 101
WATCH_SECONDS = 1.0
WILDCARDS = ("::", "0.0.0.0")
MEMORY_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
MEMORY_LOG = "ENGINE = Memory SETTINGS max_rows_to_keep = 20000, min_rows_to_keep = 10000"


def main(arguments: list[str]) -> None:
    """Becomes the server, or the command that the container was given."""
    if arguments and not arguments[0].startswith("--"):
        os.execvp(arguments[0], arguments)
    refuse_what_is_not_emulated()
    config = merged(CONFIG)
    users_in = CONFIG.parent / users_file(config)
    users = merged(users_in)
    bend(config, users)
    data = Path(config.findtext("path") or DATA)
    become_clickhouse(data)
    folder = Path(tempfile.mkdtemp(prefix="clickhouse-"))
    SubElement(config, "users_config").text = str(folder / "users.xml")
    ElementTree.ElementTree(users).write(folder / "users.xml")
    ElementTree.ElementTree(config).write(folder / "config.xml")

    def changed() -> bool:
        """Whether there are other users now; if so, they are written down."""
        try:
            fresh = merged(users_in)
            bend(Element("clickhouse"), fresh)
        except (BadConfigError, ElementTree.ParseError, OSError):
            return False
        text = ElementTree.tostring(fresh)
        if text == (folder / "users.xml").read_bytes():
            return False
        (folder / "users.xml").write_bytes(text)
        return True

    server = [sys.executable, "-B", str(HERE / "server.py"), "--lib", str(HERE / "libchdb.so")]
    server += ["--config", str(folder / "config.xml"), "--path", str(data)]
    server += ["--host", address(config), "--port", config.findtext("http_port") or "8123"]
    user_files = Path(config.findtext("user_files_path") or data / "user_files")
    user_files.mkdir(parents=True, exist_ok=True)
    sys.exit(run(server, user_files, changed))


def run(server: list[str], folder: Path, changed: Callable[[], bool]) -> int:
    """Runs the server until it ends; its exit code, and 1 where it ended without being asked to."""
    process = subprocess.Popen(server, cwd=folder)
    asked: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        process.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while True:
        try:
            code = process.wait(WATCH_SECONDS)
            break
        except subprocess.TimeoutExpired:
            if not asked and changed():
                process.terminate()
                process.wait()
                process = subprocess.Popen(server, cwd=folder)
    # A shell reports a death by signal as 128 and its number, and so does the official image.
    return 128 - code if code < 0 else code or int(not asked)


def refuse_what_is_not_emulated() -> None:
    for name in ("CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD", "CLICKHOUSE_DB"):
        if os.environ.get(name):
            raise BadConfigError(f"{name} is set; this test image takes users from users.d only")
    if INIT_SCRIPTS.is_dir() and any(INIT_SCRIPTS.iterdir()):
        raise BadConfigError(f"{INIT_SCRIPTS} holds files; this test image does not run them")


def users_file(config: Element) -> str:
    named = config.findtext("user_directories/users_xml/path") or config.findtext("users_config")
    return named or "users.xml"


def bend(config: Element, users: Element) -> None:
    """Changes both trees to what clickhouse-local takes; the module's text lists the points."""
    for log in config:
        if log.tag.endswith("_log") and log.find("database") is not None:
            for name in ("engine", "partition_by", "order_by", "ttl"):
                for element in log.findall(name):
                    log.remove(element)
            SubElement(log, "engine").text = MEMORY_LOG
    if config.find("max_server_memory_usage") is None:
        ratio = float(config.findtext("max_server_memory_usage_to_ram_ratio") or "0.9")
        SubElement(config, "max_server_memory_usage").text = str(int(available_memory() * ratio))
    for name in ("user_directories", "users_config", "logger"):
        for element in config.findall(name):
            config.remove(element)
    block = users.find("users")
    if block is None:
        raise BadConfigError("there is no <users> in the users configuration")
    for user in block.findall("default"):
        block.remove(user)
    user = SubElement(block, "default")
    SubElement(user, "password")
    networks = SubElement(user, "networks")
    for loopback in ("127.0.0.1", "::1"):
        SubElement(networks, "ip").text = loopback
    grant = "GRANT SYSTEM LISTEN, SYSTEM FLUSH LOGS ON *.*"
    SubElement(SubElement(user, "grants"), "query").text = grant
    for name in ("profile", "quota"):
        SubElement(user, name).text = "default"


def available_memory() -> int:
    """Bytes this container may use."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in MEMORY_LIMITS:
        text = path.read_text().strip() if path.exists() else ""
        if text.isdigit():
            return min(physical, int(text))
    return physical


def become_clickhouse(data: Path) -> None:
    """Makes `data` usable, and goes on as uid 101 where the container was started as root."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            if (data.stat().st_uid, data.stat().st_gid) != (UID, GID):
                for path in (data, *data.rglob("*")):
                    os.lchown(path, UID, GID)
            os.setgroups([])
            os.setgid(GID)
            os.setuid(UID)
        tempfile.TemporaryFile(dir=data).close()
    except OSError as error:
        raise BadConfigError(f"{data} cannot be used by uid {os.geteuid()}: {error}") from error


def address(config: Element) -> str:
    hosts = [element.text or "" for element in config.findall("listen_host")]
    return "0.0.0.0" if any(host in WILDCARDS for host in hosts) else (hosts or ["127.0.0.1"])[0]


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BadConfigError as error:
        sys.exit(f"entrypoint: {error}")
