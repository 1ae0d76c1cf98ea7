"""How the programs come to this machine: named, found on the PATH, or made.

Made means: the collector is built by Go from the committed sources in toolchain/collector, and
ClickHouse runs out of libchdb, which npm fetches at a pinned version and checks against its hash.
Prometheus, where settings ask for it, is only named or found.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from infra import versions
from infra.settings import Settings
from scripts.console import Step, say
from scripts.errors import Failure
from stacks.embedded.processes import Program, Programs
from stacks.home import PROJECT, write_private

BUILD = PROJECT / "build"
COLLECTOR_SOURCES = PROJECT / "toolchain" / "collector"
COLLECTOR = BUILD / "otelcol-telemetry"
_PATCHED = "go.opentelemetry.io/collector/exporter/exporterhelper"
_PATCH = "patches/exporterhelper.patch"
"""Without it, a collector that is killed while it starts loses what the one before had in hand."""
LIBCHDB_PACKAGE = PROJECT / "toolchain" / "clickhouse"
LIBCHDB_FOLDER = BUILD / "chdb"
LIBCHDB_VERSION = "26.7.3-stable.1"
_LIBCHDB_ENGINE = "26.7.2.1"
"""What `SELECT version()` answers on that libchdb."""

_PLATFORMS = {
    ("Linux", "x86_64"): "linux-x64-gnu",
    ("Linux", "aarch64"): "linux-arm64-gnu",
    ("Linux", "arm64"): "linux-arm64-gnu",
    ("Darwin", "arm64"): "darwin-arm64",
    ("Darwin", "x86_64"): "darwin-x64",
}
_PROMETHEUS_REMEDY = (
    "prometheus (2.40 or newer, for backend: {backend}: your package manager, or "
    "https://prometheus.io/download; or name one that runs elsewhere as prometheus.url)"
)
_NUMBERS = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:\.(\d+))?")


def programs(settings: Settings) -> Programs:
    """All programs, made ready. Raises Failure naming everything that is missing."""
    prometheus = _chosen_prometheus(settings) if settings.own_prometheus else None
    collector = _chosen_collector(settings)
    clickhouse = _chosen_clickhouse(settings)
    missing = [
        *(
            _lacking("go", "Go 1.26 or newer: https://go.dev/dl, or your package manager (golang)")
            if collector is None and not _collector_is_built()
            else []
        ),
        *(
            _lacking("npm", "Node.js with npm: https://nodejs.org, or your package manager (npm)")
            if clickhouse is None and not _libchdb_file().exists()
            else []
        ),
        *(
            [_PROMETHEUS_REMEDY.format(backend=settings.backend)]
            if settings.own_prometheus and prometheus is None
            else []
        ),
    ]
    if missing:
        raise Failure("Missing on this machine:\n" + "\n".join(f"  - {line}" for line in missing))
    with ThreadPoolExecutor(2) as pool:
        # One mostly computes, the other mostly downloads.
        building = None if collector else pool.submit(_built_collector)
        fetching = None if clickhouse else pool.submit(_fetched_libchdb)
        return Programs(
            collector=collector or building.result(),  # type: ignore[union-attr]
            clickhouse=clickhouse or fetching.result(),  # type: ignore[union-attr]
            prometheus=prometheus,
            engine="server" if clickhouse else "libchdb",
            python=Path(sys.executable),
        )


def has_clickhouse(settings: Settings) -> bool:
    """Whether plain processes have a ClickHouse that is a server of its own, not the library."""
    return _chosen_clickhouse(settings) is not None


def _lacking(program: str, remedy: str) -> list[str]:
    return [] if shutil.which(program) else [f"{program} ({remedy})"]


def _chosen_collector(settings: Settings) -> Program | None:
    named = settings.programs.collector
    path = named or shutil.which("otelcol-contrib")
    if not path:
        return None
    version = _version(path, "--version")
    wanted = versions.COLLECTOR_VERSION
    if version.split(".")[:2] == wanted.split(".")[:2]:
        return _program(Path(path), version, "settings" if named else "PATH")
    problem = f"{path} is version {version}; this configuration is written for {wanted}"
    if named:
        raise Failure(
            f"{problem}. Install that one, or remove programs.collector from settings.yaml and one "
            "is built."
        )
    say(f"{problem}: not used, one is built instead.")
    return None


def _chosen_clickhouse(settings: Settings) -> Program | None:
    named = settings.programs.clickhouse
    path = named or shutil.which("clickhouse")
    if not path:
        return None
    version = _version(path, "--version")
    minimum = versions.CLICKHOUSE_MINIMUM
    if tuple(int(part) for part in version.split(".")[:2]) >= minimum:
        return _program(Path(path), version, "settings" if named else "PATH")
    problem = f"{path} is version {version}; at least {minimum[0]}.{minimum[1]} is needed"
    if named:
        raise Failure(
            f"{problem}. Install a newer one, or remove programs.clickhouse from settings.yaml and "
            "libchdb is used."
        )
    say(f"{problem}: not used, libchdb takes its place.")
    return None


def _chosen_prometheus(settings: Settings) -> Program | None:
    named = settings.programs.prometheus
    path = named or shutil.which("prometheus")
    if not path:
        return None
    version = _version(path, "--version")
    minimum = versions.PROMETHEUS_MINIMUM
    if tuple(int(part) for part in version.split(".")[:2]) >= minimum:
        return _program(Path(path), version, "settings" if named else "PATH")
    raise Failure(
        f"{path} is version {version}; at least {minimum[0]}.{minimum[1]} is needed. Install a "
        "newer one (https://prometheus.io/download) and name it in settings.yaml as "
        "programs.prometheus."
    )


def _version(path: str, flag: str) -> str:
    try:
        answer = subprocess.run(
            [path, flag], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise Failure(
            f"{path} does not run ({error}). Name another one in settings.yaml."
        ) from None
    match = _NUMBERS.search(answer)
    if match is None:
        raise Failure(f"`{path} {flag}` does not tell a version: {answer.strip()[:200]!r}")
    return match[0]


def _program(path: Path, version: str, origin: str) -> Program:
    state = path.stat()
    return Program(
        path=path,
        version=version,
        origin=origin,
        fingerprint=f"{state.st_size}-{state.st_mtime_ns}",
    )


def _sources_hash() -> str:
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum", "main.go", "components.go", _PATCH):
        digest.update((COLLECTOR_SOURCES / name).read_bytes())
    return digest.hexdigest()


def patched(text: str, patch: str) -> str:
    """A text with a unified diff of it applied. Raises ValueError where the two do not fit."""
    for hunk in re.split(r"^@@.*\n", patch, flags=re.MULTILINE)[1:]:
        lines = hunk.splitlines(keepends=True)
        old, new = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
        if text.count(old) != 1:
            raise ValueError(f"the patch does not fit: {old[:200]!r}")
        text = text.replace(old, new)
    return text


def _with_patch() -> Path:
    """A go.mod that takes the module with our patch instead of the one that was published."""
    command = ["go", "mod", "download", "-json", _PATCHED]
    done = subprocess.run(command, cwd=COLLECTOR_SOURCES, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"The collector could not be built (`{' '.join(command)}`):\n{done.stderr}")
    published, folder = Path(json.loads(done.stdout)["Dir"]), BUILD / "exporterhelper"
    shutil.rmtree(folder, ignore_errors=True)
    for file in published.rglob("*"):  # by hand: the cache is read-only, folders too
        if file.is_file() and not file.name.endswith("_test.go"):
            copy = folder / file.relative_to(published)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    patch = (COLLECTOR_SOURCES / _PATCH).read_text(encoding="utf-8")
    file = folder / patch.split()[1].removeprefix("a/")
    file.write_text(patched(file.read_text(encoding="utf-8"), patch), encoding="utf-8")
    modules = BUILD / "collector.mod"
    text = (COLLECTOR_SOURCES / "go.mod").read_text(encoding="utf-8")
    place = os.path.relpath(folder, COLLECTOR_SOURCES)
    modules.write_text(f"{text}\nreplace {_PATCHED} => {json.dumps(place)}\n", encoding="utf-8")
    shutil.copyfile(COLLECTOR_SOURCES / "go.sum", modules.with_suffix(".sum"))
    return modules


def _collector_is_built() -> bool:
    """Whether the program at hand was built from the sources at hand."""
    made_from = COLLECTOR.with_suffix(".sources")
    return COLLECTOR.exists() and made_from.exists() and made_from.read_text() == _sources_hash()


def _built_collector() -> Program:
    if not _collector_is_built():
        BUILD.mkdir(exist_ok=True)
        fresh = BUILD / f".otelcol-{os.getpid()}"
        command = [
            "go",
            "build",
            "-v",
            "-mod=readonly",
            f"-modfile={_with_patch()}",
            "-buildvcs=false",
            "-trimpath",
            "-ldflags",
            "-s -w",
            "-o",
            str(fresh),
            ".",
        ]
        seen = 0

        def count(_: str, step: Step) -> None:
            nonlocal seen
            seen += 1
            step.update(f"{seen} packages")

        with Step("Building the collector (some minutes the first time)") as step:
            _run(
                command,
                COLLECTOR_SOURCES,
                {"CGO_ENABLED": "0"},
                lambda line: count(line, step),
                "The collector could not be built",
            )
        fresh.replace(COLLECTOR)
        write_private(COLLECTOR.with_suffix(".sources"), _sources_hash())
    return _program(COLLECTOR, _version(str(COLLECTOR), "--version"), "built")


def _platform() -> str:
    key = (platform.system(), platform.machine())
    if key not in _PLATFORMS:
        raise Failure(
            f"libchdb is not made for {key[0]} on {key[1]}. Install ClickHouse "
            "(https://clickhouse.com/docs/install) and name it in settings.yaml as "
            "programs.clickhouse, or use `pulumi up -s local` (Docker)."
        )
    return _PLATFORMS[key]


def _libchdb_file() -> Path:
    return LIBCHDB_FOLDER / "node_modules" / "@chdb" / f"lib-{_platform()}" / "libchdb.so"


def _fetched_libchdb() -> Program:
    file = _libchdb_file()
    stamp = LIBCHDB_FOLDER / "version"
    if not file.exists() or not stamp.exists() or stamp.read_text() != LIBCHDB_VERSION:
        LIBCHDB_FOLDER.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(LIBCHDB_PACKAGE / name, LIBCHDB_FOLDER / name)
        failed = "libchdb could not be fetched"
        with Step("Fetching libchdb (180 MB)") as step:

            def report(_: str) -> None:
                step.update("under way")

            npm = ["npm", "--loglevel=error"]
            if f"lib-{_platform()}" in (LIBCHDB_PACKAGE / "package-lock.json").read_text():
                _run([*npm, "ci", "--ignore-scripts"], LIBCHDB_FOLDER, {}, report, failed)
            else:
                # The lock has no hash for this platform: the registry's signature vouches instead.
                package = f"@chdb/lib-{_platform()}@{LIBCHDB_VERSION}"
                _run(
                    [*npm, "install", "--ignore-scripts", "--save-exact", package],
                    LIBCHDB_FOLDER,
                    {},
                    report,
                    failed,
                )
                _run(
                    [*npm, "audit", "signatures"],
                    LIBCHDB_FOLDER,
                    {},
                    report,
                    "libchdb's signature could not be checked",
                )
        if not file.exists():
            raise Failure(f"npm ended well, yet {file.name} is not there. Remove {LIBCHDB_FOLDER}.")
        write_private(stamp, LIBCHDB_VERSION)
    return _program(file, _LIBCHDB_ENGINE, f"libchdb {LIBCHDB_VERSION}")


def _run(
    command: list[str],
    folder: Path,
    environment: dict[str, str],
    heard: Callable[[str], None],
    failed: str,
) -> None:
    """Run a long command, pass on its lines, and show their end when it fails."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    assert process.stdout is not None
    ticking = threading.Event()

    def tick() -> None:
        while not ticking.wait(5):
            heard("")

    threading.Thread(target=tick, daemon=True).start()
    for line in process.stdout:
        lines.append(line.rstrip())
        heard(line)
    ticking.set()
    if process.wait() != 0:
        tail = "\n".join(f"    {line}" for line in lines[-15:])
        raise Failure(f"{failed} (`{' '.join(command)}`):\n{tail}")
