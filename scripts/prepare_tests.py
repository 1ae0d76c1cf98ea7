"""Makes the programs that tests need: the collector, libchdb and the Pulumi engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from infra.settings import Settings
from scripts import toolchain
from scripts.console import say, step
from scripts.errors import Failure
from stacks.home import PROJECT

PULUMI = toolchain.BUILD / "pulumi" / "pulumi"
PULUMI_SOURCES = PROJECT / "toolchain" / "pulumi"
_PULUMI_VERSION = "v3.256.0"


def pulumi() -> str:
    """Path of a Pulumi CLI: the one on the PATH, else one built from toolchain/pulumi."""
    found = shutil.which("pulumi")
    if found:
        return found
    if not PULUMI.exists():
        variable = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
        command = [
            "go",
            "build",
            "-mod=readonly",
            "-buildvcs=false",
            "-trimpath",
            "-ldflags",
            f"-s -w -X {variable}={_PULUMI_VERSION}",
            "-o",
            str(PULUMI),
            "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
        ]
        with step("Building the Pulumi engine (some minutes the first time)"):
            subprocess.run(
                command,
                cwd=PULUMI_SOURCES,
                env={**os.environ, "CGO_ENABLED": "0"},
                check=True,
            )
    return str(PULUMI)


def main() -> int:
    """Make them all."""
    try:
        toolchain.programs(Settings())
        say(f"Pulumi: {pulumi()}")
    except (Failure, subprocess.CalledProcessError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
