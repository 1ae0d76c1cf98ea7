"""Makes what tests need: the collector, libchdb, the Pulumi engine, Caddy, Claude Code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from infra.settings import Settings
from scripts import toolchain
from scripts.console import say, step
from scripts.errors import Failure
from stacks.home import PROJECT

PULUMI = toolchain.BUILD / "pulumi" / "pulumi"
CADDY = toolchain.BUILD / "caddy" / "caddy"
_PULUMI_VERSION = "v3.256.0"
CLIENT = toolchain.BUILD / "client"
CLIENT_PACKAGE = PROJECT / "toolchain" / "client"


def pulumi() -> str:
    """Path of a Pulumi CLI: the one on the PATH, else one built from toolchain/pulumi."""
    found = shutil.which("pulumi")
    if found:
        return found
    variable = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
    flags = ("-ldflags", f"-s -w -X {variable}={_PULUMI_VERSION}")
    return _built("the Pulumi engine", PULUMI, "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", flags)


def caddy() -> str:
    """Path of a Caddy of the version of its image, built from toolchain/caddy."""
    return _built(
        "Caddy", CADDY, "github.com/caddyserver/caddy/v2/cmd/caddy", ("-ldflags", "-s -w")
    )


def _built(what: str, program: Path, package: str, flags: tuple[str, ...]) -> str:
    """A Go program of toolchain/<its name>, made anew when its lock changes."""
    sources = PROJECT / "toolchain" / program.name
    lock, stamp = (sources / "go.sum").read_bytes(), program.with_name("made-from")
    if program.exists() and stamp.exists() and stamp.read_bytes() == lock:
        return str(program)
    command = ["go", "build", "-mod=readonly", "-buildvcs=false", "-trimpath", *flags]
    with step(f"Building {what} (some minutes the first time)"):
        subprocess.run(
            [*command, "-o", str(program), package],
            cwd=sources,
            env={**os.environ, "CGO_ENABLED": "0"},
            check=True,
        )
    stamp.write_bytes(lock)
    return str(program)


def client_program() -> Path | None:
    """Claude Code as `client` has put it there; None where it has not."""
    return next((CLIENT / "node_modules" / "@anthropic-ai").glob("claude-code-*/claude"), None)


def client() -> Path:
    """Claude Code of the pinned version, fetched by npm unless it is there."""
    lock = (CLIENT_PACKAGE / "package-lock.json").read_bytes()
    stamp = CLIENT / "made-from"
    if not stamp.exists() or stamp.read_bytes() != lock:
        CLIENT.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(CLIENT_PACKAGE / name, CLIENT / name)
        with step("Fetching Claude Code (180 MB)"):
            # Its own script only puts the program elsewhere, and asks for a newer Node.js.
            command = ["npm", "--loglevel=error", "ci", "--ignore-scripts"]
            subprocess.run(command, cwd=CLIENT, check=True)
        stamp.write_bytes(lock)
    program = client_program()
    if program is None:
        raise Failure(f"npm ended well, yet Claude Code is not there. Remove {CLIENT}.")
    return program


def main() -> int:
    """Make them all."""
    try:
        toolchain.programs(Settings())
        say(f"Pulumi: {pulumi()}")
        say(f"Caddy: {caddy()}")
        say(f"Claude Code: {client()}")
    except (Failure, subprocess.CalledProcessError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
