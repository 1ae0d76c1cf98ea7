"""The images a stack declares, made locally and without a registry, under the names it declares.

`collector_image`, `clickhouse_image` and `caddy_image` offer the contracts of the official images
otel/opentelemetry-collector-contrib, clickhouse/clickhouse-server and caddy as far as the stacks
use them; where ClickHouse's differs, clickhouse_image/entrypoint.py says so point by point.

An image that the engine already has under that name is left alone and used as it is: on an engine
that is not ours it is most likely the official one, which is the better test.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from .debian_root import debian_root

REPOSITORY = Path(__file__).resolve().parents[2]
ENTRYPOINT_FILES = Path(__file__).with_name("clickhouse_image")
CERTIFICATES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/cert.pem"),
)
COLLECTOR_CONTRACT = (
    "USER 10001:10001",
    "EXPOSE 4317 55678 55679",
    'ENTRYPOINT ["/otelcol-contrib"]',
    'CMD ["--config", "/etc/otelcol-contrib/config.yaml"]',
)
CLICKHOUSE_CONTRACT = (
    "EXPOSE 9000 8123 9009",
    "VOLUME /var/lib/clickhouse",
    "ENV CLICKHOUSE_CONFIG=/etc/clickhouse-server/config.xml",
    "ENV TZ=UTC",
    'ENTRYPOINT ["/entrypoint.sh"]',
)
CADDY_CONTRACT = (
    "EXPOSE 80 443 2019",
    "ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data PATH=/usr/bin",
    "WORKDIR /srv",
    'CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]',
)
START = '#!/bin/sh\nexec python3 -B /opt/clickhouse/entrypoint.py "$@"\n'
PROGRAM = '#!/bin/sh\nexec python3 -B /opt/clickhouse/extract.py "$@"\n'
DEFAULT_CONFIG = {
    "receivers": {"otlp": {"protocols": {"http": {"endpoint": "0.0.0.0:4318"}}}},
    "exporters": {"file": {"path": "/dev/null"}},
    "service": {"pipelines": {"logs": {"receivers": ["otlp"], "exporters": ["file"]}}},
}
UID = 101


class NoImageError(Exception):
    """An image cannot be made here; the text names what is missing and how to get it."""


def collector_binary() -> Path:
    """The static collector binary for Linux: TELEMETRY_TEST_COLLECTOR or the built one."""
    return _built("TELEMETRY_TEST_COLLECTOR", REPOSITORY / "build/otelcol-telemetry")


def libchdb() -> Path:
    """libchdb.so for Linux: TELEMETRY_TEST_LIBCHDB or the one that npm brought."""
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = REPOSITORY / f"build/chdb/node_modules/@chdb/lib-linux-{machine}-gnu"
    return _built("TELEMETRY_TEST_LIBCHDB", package / "libchdb.so")


def _built(variable: str, default: Path) -> Path:
    path = Path(os.environ.get(variable) or default)
    if not path.is_file():
        raise NoImageError(f"{path} is missing; build it with `make up`, or name one in {variable}")
    return path


@contextlib.contextmanager
def collector_image(client: docker.DockerClient, name: str) -> Iterator[str]:
    """`name` as an image FROM scratch: the binary, CA certificates, uid 10001, no shell."""
    with _present(client, name) as build:
        if build is not None:
            with tarfile.open(build, "w") as tar:
                _add(tar, "otelcol-contrib", collector_binary(), mode=0o755)
                _add(tar, "etc/ssl/certs/ca-certificates.crt", _certificates())
                config = json.dumps(DEFAULT_CONFIG).encode()
                _add(tar, "etc/otelcol-contrib/config.yaml", config)
            _import(client, build, name, COLLECTOR_CONTRACT)
        yield name


@contextlib.contextmanager
def caddy_image(client: docker.DockerClient, name: str) -> Iterator[str]:
    """`name` as an image FROM scratch: the program and CA certificates, as root, no shell."""
    with _present(client, name) as build:
        if build is not None:
            program = _built("TELEMETRY_TEST_CADDY", REPOSITORY / "build/caddy/caddy")
            with tarfile.open(build, "w") as tar:
                _add(tar, "usr/bin/caddy", program, mode=0o755)
                _add(tar, "etc/ssl/certs/ca-certificates.crt", _certificates())
                for folder in ("config", "data", "srv", "etc/caddy", "tmp"):
                    _add_folder(tar, folder, uid=0, mode=0o755)
            _import(client, build, name, CADDY_CONTRACT)
        yield name


def _certificates() -> Path:
    found = next((path for path in CERTIFICATES if path.is_file()), None)
    if found is None:
        raise NoImageError("no CA certificates found; install ca-certificates")
    return found


@contextlib.contextmanager
def clickhouse_image(client: docker.DockerClient, name: str) -> Iterator[str]:
    """`name` as an image with a Debian root, libchdb and an entrypoint like the official one's."""
    with _present(client, name) as build:
        if build is not None:
            shutil.copyfile(debian_root(), build)
            with tarfile.open(build, "a") as tar:
                _add_clickhouse(tar)
            _import(client, build, name, CLICKHOUSE_CONTRACT)
        yield name


@contextlib.contextmanager
def _present(client: docker.DockerClient, name: str) -> Iterator[Path | None]:
    """Yields None if the engine has `name`, else a path for its tar file; removes what was made."""
    if "@" in name:
        raise ValueError(f"{name!r} is pinned by a digest, which no image made here can have")
    with contextlib.suppress(ImageNotFound):
        client.images.get(name)
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="telemetry-image-") as folder:
        yield Path(folder) / "image.tar"
    client.images.remove(name, force=True)


def _add_clickhouse(tar: tarfile.TarFile) -> None:
    for name in ("entrypoint.py", "extract.py", "merge.py"):
        _add(tar, f"opt/clickhouse/{name}", ENTRYPOINT_FILES / name)
    _add(tar, "opt/clickhouse/server.py", REPOSITORY / "toolchain/clickhouse/server.py")
    _add(tar, "opt/clickhouse/libchdb.so", libchdb(), mode=0o755)
    _add(tar, "entrypoint.sh", START.encode(), mode=0o755)
    _add(tar, "usr/bin/clickhouse", PROGRAM.encode(), mode=0o755)
    _add_folder(tar, "docker-entrypoint-initdb.d", uid=0, mode=0o755)
    for name in ("", "/config.d", "/users.d"):
        _add_folder(tar, f"etc/clickhouse-server{name}", uid=UID, mode=0o777)
    for name in ("config.xml", "users.xml"):
        _add(tar, f"etc/clickhouse-server/{name}", ENTRYPOINT_FILES / name)
    name = "docker_related_config.xml"
    _add(tar, f"etc/clickhouse-server/config.d/{name}", ENTRYPOINT_FILES / name)
    # An empty named volume mounted here takes over owner and mode, as with the official image.
    for name in ("var/lib/clickhouse", "var/log/clickhouse-server"):
        _add_folder(tar, name, uid=UID, mode=0o777)


def _add(tar: tarfile.TarFile, name: str, content: Path | bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    if isinstance(content, bytes):
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
        return
    entry.size = content.stat().st_size
    with content.open("rb") as file:
        tar.addfile(entry, file)


def _add_folder(tar: tarfile.TarFile, name: str, uid: int, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, uid, uid
    tar.addfile(entry)


def _import(client: docker.DockerClient, tar: Path, name: str, contract: tuple[str, ...]) -> None:
    repository, _, tag = name.rpartition(":")
    if "/" in tag or not repository:
        raise ValueError(f"{name!r} has no tag; the stacks pin every image")
    answer = client.api.import_image(
        src=str(tar), repository=repository, tag=tag, changes=list(contract)
    )
    if '"error"' in answer:
        raise NoImageError(f"{name} could not be made: {answer}")
