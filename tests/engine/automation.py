"""Runs an inline Pulumi program with the real engine and the provider doubles.

Nothing is downloaded and nobody is told: the state is files in a temporary folder, the passphrase
is a file, and the only plugins are the doubles on the PATH. The Automation API runs the program in
this process, so no language host is needed either.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound
from pulumi import automation

REPOSITORY = Path(__file__).resolve().parents[2]
BUILT = REPOSITORY / "build/pulumi/pulumi"
PASSPHRASE = "a passphrase for a test's own state"
PROJECT = "telemetry"

Program = Callable[[], None]
Changes = dict[str, int]
"""Operations by kind, such as {"create": 4} or {"same": 4, "update": 1}."""


class NoPulumiError(Exception):
    """The pulumi program is not here; the text says how to get it."""


def pulumi_program() -> Path:
    """TELEMETRY_TEST_PULUMI, else the one built from toolchain/pulumi, else the PATH."""
    named = os.environ.get("TELEMETRY_TEST_PULUMI")
    found = shutil.which("pulumi")
    for path in (Path(named) if named else None, BUILT, Path(found) if found else None):
        if path is not None and path.is_file():
            return path
        if path is not None and named:
            break
    where = named or f"neither {BUILT} nor the PATH has it"
    raise NoPulumiError(f"no pulumi program ({where}); build it with `make test`")


def install_double(folder: Path, provider: str) -> None:
    """Puts an executable `pulumi-resource-<provider>` into `folder` that runs the double."""
    package = __package__ or "engine"
    top = Path(__file__).resolve().parents[package.count(".") + 1]
    folder.mkdir(parents=True, exist_ok=True)
    wrapper = folder / f"pulumi-resource-{provider}"
    wrapper.write_text(
        f'#!/bin/sh\nPYTHONPATH="{top}" exec "{sys.executable}" -m {package}.provider_{provider}\n'
    )
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)


@dataclass
class Deployment:
    """One stack of one program. `log` collects what the engine printed, for assertions on it."""

    stack: automation.Stack
    state: Path
    log: list[str] = field(default_factory=list)

    def preview(self) -> Changes:
        with _tidy():
            return _by_name(self.stack.preview(on_output=self.log.append).change_summary)

    def up(self, refresh: bool = False) -> Changes:
        with _tidy():
            result = self.stack.up(on_output=self.log.append, refresh=refresh)
        return _by_name(result.summary.resource_changes or {})

    def destroy(self) -> Changes:
        with _tidy():
            result = self.stack.destroy(on_output=self.log.append)
        return _by_name(result.summary.resource_changes or {})

    def run(self, program: Program) -> Deployment:
        """The same stack with another program."""
        self.stack.workspace.program = program
        return self

    def outputs(self) -> dict[str, Any]:
        return {name: output.value for name, output in self.stack.outputs().items()}

    def state_text(self) -> str:
        """Everything the engine wrote about the stack (state, history, back-ups), as it lies there.

        The Automation API's own export decrypts the secrets and cannot show that they are hidden.
        """
        files = sorted(path for path in self.state.rglob("*") if path.is_file())
        return "\n".join(path.read_text(errors="replace") for path in files)

    def resources(self) -> list[dict[str, Any]]:
        """The resources of the state, secrets encrypted, in the order in which they were made."""
        project, name = self.stack.workspace.project_settings().name, self.stack.name
        file = self.state / ".pulumi/stacks" / project / f"{name}.json"
        latest = json.loads(file.read_text())["checkpoint"]["latest"] if file.exists() else None
        return list((latest or {}).get("resources") or [])

    def remove_what_is_left(self, client: docker.DockerClient) -> None:
        """Removes the stack's objects from the engine whatever their protection: the clean-up.

        Much faster than a destroy, and it works however far the program came.
        """
        for resource in reversed(self.resources()):
            remove = {
                "docker:index/container:Container": lambda at: client.api.remove_container(
                    at, force=True, v=True
                ),
                "docker:index/network:Network": client.api.remove_network,
                "docker:index/volume:Volume": client.api.remove_volume,
            }.get(resource["type"])
            if remove is not None and resource.get("id"):
                with contextlib.suppress(NotFound):
                    remove(resource["id"])


def deployment(
    program: Program,
    *,
    folder: Path,
    docker_host: str = "",
    provider: str = "docker",
    stack: str = "local",
    project: str = PROJECT,
    config: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Deployment:
    """A new stack of `program` whose state, plugins and caches all live below `folder`.

    `config` has full keys, as in {"telemetry:ports": "..."}; its values are plain text. `provider`:
    whose double is put on the PATH.
    """
    command = automation.PulumiCommand(root=str(_root_of_program(folder)), skip_version_check=True)
    plugins, state, passphrase = folder / "plugins", folder / "state", folder / "passphrase"
    install_double(plugins, provider)
    state.mkdir(parents=True, exist_ok=True)
    passphrase.write_text(PASSPHRASE)
    made = automation.create_or_select_stack(
        stack_name=stack,
        project_name=project,
        program=program,
        opts=automation.LocalWorkspaceOptions(
            work_dir=None,
            pulumi_home=str(folder / "home"),
            pulumi_command=command,
            env_vars={
                "PATH": f"{plugins}{os.pathsep}{os.environ['PATH']}",
                **({"DOCKER_HOST": docker_host} if docker_host else {}),
                "PULUMI_BACKEND_URL": state.as_uri(),
                "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase),
                "PULUMI_SKIP_UPDATE_CHECK": "true",
                "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
                "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "true",
                **(environment or {}),
            },
        ),
    )
    for name, value in (config or {}).items():
        made.set_config(name, automation.ConfigValue(value=value))
    return Deployment(made, state)


def _root_of_program(folder: Path) -> Path:
    """A folder in which bin/pulumi is the program, which is how the Automation API looks for it."""
    link = folder / "pulumi/bin/pulumi"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(pulumi_program().resolve())
    return folder / "pulumi"


@contextlib.contextmanager
def _tidy() -> Iterator[None]:
    """Collects what the SDK leaves behind when the engine ends before the program does.

    A failed run leaves an unfinished coroutine of the program, which complains when it is
    collected, whenever that is: later, it would be in the middle of some other test.
    """
    try:
        yield
    except automation.CommandError:
        loud, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            gc.collect()
        finally:
            sys.unraisablehook = loud
        raise


def _by_name(changes: Mapping[Any, int]) -> Changes:
    return {getattr(kind, "value", str(kind)): number for kind, number in changes.items()}
