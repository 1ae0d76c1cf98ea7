"""The law of the house, as far as a machine can hold us to it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from stacks.home import PROJECT

NETWORK = {"socket", "ssl", "http", "urllib3", "requests", "httpx", "clickhouse_connect", "docker"}
ACTING = {"subprocess", "multiprocessing", "shutil", "tempfile", "os", "psutil"}
PROVIDERS = {"pulumi", "pulumi_docker", "pulumi_gcp"}
CONFIGURATION = {"settings.yaml", "Pulumi.yaml", "Pulumi.local.yaml", "Pulumi.cloud.yaml"}
WATCH = """
import importlib, pathlib, sys
import pulumi, pulumi_docker, pydantic, yaml  # what these do is their own affair

project, names = pathlib.Path(sys.argv[1]), sys.argv[2:]
done = []


def watch(event, arguments):
    if event in ("subprocess.Popen", "os.system", "socket.connect", "os.mkdir", "os.remove"):
        done.append(f"{event} {arguments[0]}")
    elif event == "open" and isinstance(arguments[0], str):
        path = pathlib.Path(arguments[0])
        inside = path.is_relative_to(project)
        ours = inside and not path.relative_to(project).parts[0].startswith(".venv")
        writes = isinstance(arguments[1], str) and set("wax+") & set(arguments[1])
        if writes or (ours and path.suffix not in (".py", ".pyc")):
            done.append(f"open {path}")


sys.addaudithook(watch)
for name in names:
    importlib.import_module(name)
print("\\n".join(done))
"""


def sources(*folders: str) -> list[Path]:
    """Python files of these folders, or a single file."""
    found = [
        path
        for name in folders
        for path in ([PROJECT / name] if name.endswith(".py") else (PROJECT / name).rglob("*.py"))
    ]
    assert found
    return sorted(found)


def imports(path: Path) -> set[str]:
    """Modules a file imports anywhere, in full."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(str(node.module))
    return found


def offences(files: list[Path], forbidden: set[str]) -> list[str]:
    """Imports of a forbidden package."""
    return [
        f"{path.relative_to(PROJECT)} imports {name}"
        for path in files
        for name in sorted(imports(path))
        if name.partition(".")[0] in forbidden or name == "urllib.request"
    ]


def test_infra_imports_no_provider_reaches_no_network_and_starts_nothing() -> None:
    assert offences(sources("infra"), PROVIDERS | NETWORK | ACTING) == []


def test_each_layer_knows_only_those_below_it() -> None:
    assert offences(sources("infra"), {"stacks", "scripts", "benchmarks", "tests"}) == []
    assert offences(sources("stacks"), {"scripts", "benchmarks", "tests"}) == []
    assert offences(sources("scripts"), {"benchmarks", "tests"}) == []


def test_what_make_up_runs_needs_no_pulumi() -> None:
    """Otherwise a first `make up` would fetch Pulumi and its large providers."""
    runs = sources("infra", "scripts", "stacks/embedded", "stacks/home.py", "stacks/stores.py")
    assert offences(runs, PROVIDERS | {"stacks.local", "docker"}) == []
    programs = ("stacks.local", "stacks.cloud")
    assert [p for p in runs if any(name.startswith(programs) for name in imports(p))] == []


def test_a_stack_knows_its_own_provider_only() -> None:
    """The program loads one stack, and with it one provider: each takes its time and its plugin."""
    local, cloud = sources("stacks/local"), sources("stacks/cloud")
    others = [path for path in sources("stacks") if path not in (*local, *cloud)]
    assert offences(local, {"pulumi_gcp"}) == []
    assert offences(cloud, {"pulumi_docker"}) == []
    assert offences([*others, PROJECT / "__main__.py"], {"pulumi_gcp", "pulumi_docker"}) == []
    for mine, theirs in ((local, "stacks.cloud"), (cloud, "stacks.local")):
        assert [p for p in mine if any(name.startswith(theirs) for name in imports(p))] == []


def test_what_runs_beside_everything_else_needs_the_standard_library_only() -> None:
    for path in (*sources("toolchain/clickhouse/server.py", "toolchain/collector/run.py"),):
        beyond = {name.partition(".")[0] for name in imports(path)} - sys.stdlib_module_names
        assert beyond == set(), path


def test_only_the_settings_module_knows_configuration_files() -> None:
    """Elsewhere they may be spoken of, in a message, but not opened: no text is just their name."""
    knowing = {
        str(path.relative_to(PROJECT))
        for path in sources("infra", "stacks", "scripts")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in CONFIGURATION
    }
    # `make local` hands a copy of the stack's file to Pulumi; it reads no setting from it.
    assert knowing == {"infra/settings.py", "scripts/local.py"}


@pytest.mark.parametrize("folder", ["infra", "stacks"])
def test_importing_reads_writes_and_starts_nothing(folder: str) -> None:
    names = [
        ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
        for path in sources(folder)
    ]
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCH, str(PROJECT), *names],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []
