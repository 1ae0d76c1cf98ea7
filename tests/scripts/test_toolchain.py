"""How programs come to a machine: what is there is used after a look at its version."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from infra.settings import Settings
from scripts import toolchain
from scripts.errors import Failure
from stacks.home import PROJECT


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, says: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_programs_on_the_path_are_used(tools: Path) -> None:
    program(tools, "otelcol-contrib", "otelcol-contrib version 0.161.3")
    program(tools, "clickhouse", "ClickHouse local version 26.8.20.9 (official build).")
    found = toolchain.programs(Settings())
    assert (found.collector.origin, found.collector.version) == ("PATH", "0.161.3")
    assert (found.engine, found.clickhouse.version) == ("server", "26.8.20.9")


@pytest.mark.parametrize(
    ("name", "setting", "says", "wanted"),
    [
        ("otelcol", "collector", "otelcol-contrib version 0.140.0", "written for 0.161"),
        ("ch", "clickhouse", "ClickHouse client version 24.8.1.1.", "at least 26.3"),
        ("ch", "clickhouse", "hello", "does not tell a version"),
    ],
)
def test_a_named_program_of_a_wrong_version_is_refused(
    tools: Path, name: str, setting: str, says: str, wanted: str
) -> None:
    path = program(tools, name, says)
    with pytest.raises(Failure, match=wanted):
        toolchain.programs(Settings.model_validate({"programs": {setting: str(path)}}))


def test_a_named_program_that_is_not_there_is_said(tools: Path) -> None:
    with pytest.raises(Failure, match="does not run"):
        toolchain.programs(Settings.model_validate({"programs": {"collector": str(tools / "x")}}))


def test_everything_missing_is_named_in_one_message(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tools, "clickhouse", "ClickHouse local version 23.1.1.1")  # too old: as if not there
    monkeypatch.setattr(toolchain, "COLLECTOR", tmp_path / "none")
    monkeypatch.setattr(toolchain, "LIBCHDB_FOLDER", tmp_path / "none")
    with pytest.raises(Failure) as refused:
        toolchain.programs(Settings())
    assert "go (Go 1.2" in str(refused.value)
    assert "npm (Node.js" in str(refused.value)


def with_prometheus(**prometheus: str) -> Settings:
    return Settings.model_validate({"backend": "both", "prometheus": prometheus})


def others(tools: Path) -> None:
    program(tools, "otelcol-contrib", "otelcol-contrib version 0.161.3")
    program(tools, "clickhouse", "ClickHouse local version 26.8.20.9 (official build).")


def test_prometheus_is_wanted_only_where_one_of_our_own_is_to_run(tools: Path) -> None:
    others(tools)
    for settings in (Settings(), with_prometheus(url="https://prometheus.example/api/v1/write")):
        assert toolchain.programs(settings).prometheus is None
    with pytest.raises(Failure, match=r"prometheus \(2\.40 or newer, for backend: both"):
        toolchain.programs(with_prometheus())
    program(tools, "prometheus", "prometheus, version 2.42.0+ds (branch: x, revision: y)")
    found = toolchain.programs(with_prometheus()).prometheus
    assert found is not None
    assert (found.origin, found.version) == ("PATH", "2.42.0")


def test_a_prometheus_too_old_is_refused_with_what_to_install(tools: Path) -> None:
    others(tools)
    program(tools, "prometheus", "prometheus, version 2.33.5 (branch: x, revision: y)")
    with pytest.raises(Failure, match=r"2\.33\.5; at least 2\.40 is needed"):
        toolchain.programs(with_prometheus())


def preflight(path: str, folder: Path, state: Path) -> subprocess.CompletedProcess[str]:
    """toolchain/preflight.sh in a folder where nothing was built."""
    return subprocess.run(
        ["/bin/sh", str(PROJECT / "toolchain" / "preflight.sh")],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), "TELEMETRY_HOME": str(state)},
        capture_output=True,
        text=True,
    )


def test_preflight_names_every_missing_program_and_what_installs_it(
    tools: Path, tmp_path: Path
) -> None:
    done = preflight(str(tools), tmp_path, tmp_path)
    assert done.returncode == 1
    for program_name in ("Python 3.11", "Go 1.2", "npm"):
        assert program_name in done.stderr
    assert done.stderr.count("http") == 3


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("go1.19.8", True),
        ("go1.20", True),
        ("go1.4", True),
        ("go1.21.0", False),
        ("go1.26.8", False),
    ],
)
def test_preflight_tells_of_a_go_that_cannot_fetch_a_newer_one(
    tools: Path, tmp_path: Path, version: str, told: bool
) -> None:
    program(tools, "go", f"go version {version} linux/amd64")
    for name in ("grep", "cat"):
        (tools / name).symlink_to(os.path.realpath(f"/bin/{name}"))
    said = preflight(str(tools), tmp_path, tmp_path).stderr
    assert ("Go 1.26 or newer" in said) is told
    assert (f"here is go version {version}" in said) is told


def test_preflight_wants_nothing_whose_place_is_taken(tools: Path, tmp_path: Path) -> None:
    program(tools, "clickhouse", "")
    (tools / "python3").symlink_to(os.path.realpath("/usr/bin/env"))
    (tools / "python3").unlink()
    import sys

    (tools / "python3").symlink_to(sys.executable)
    (tmp_path / "settings.yaml").write_text("programs:\n  collector: /opt/otelcol-contrib\n")
    for name in ("grep", "uname"):
        (tools / name).symlink_to(
            f"/usr/bin/{name}" if os.path.exists(f"/usr/bin/{name}") else f"/bin/{name}"
        )
    done = preflight(str(tools), tmp_path, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_libchdb_version_is_the_locked_one() -> None:
    lock = (PROJECT / "toolchain" / "clickhouse" / "package-lock.json").read_text()
    assert f'"version": "{toolchain.LIBCHDB_VERSION}"' in lock
    assert '"integrity": "sha512-' in lock
    assert '"resolved"' not in lock


def test_a_patch_is_applied_whole_or_not_at_all() -> None:
    patch = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n@@ -4,1 +4,2 @@\n four\n+five\n"
    assert toolchain.patched("one\ntwo\nthree\nfour\n", patch) == "one\n2\nthree\nfour\nfive\n"
    for other in ("one\n2\nfour\n", "one\ntwo\none\ntwo\nfour\n"):
        with pytest.raises(ValueError, match="does not fit"):
            toolchain.patched(other, patch)
