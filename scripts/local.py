"""`make local`: `pulumi up -s local` in one go, with a file backend in the state folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from scripts.console import say
from scripts.errors import Failure
from scripts.up import locked
from stacks import home as homes
from stacks.home import PROJECT, Home, HomeError


def environment(home: Home) -> dict[str, str]:
    """Pulumi's own environment: state and passphrase in the state folder."""
    backend = home.path / "pulumi"
    backend.mkdir(mode=0o700, exist_ok=True)
    home.secret("pulumi-passphrase")
    return {
        **os.environ,
        "PULUMI_BACKEND_URL": f"file://{backend}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(home.secrets_folder / "pulumi-passphrase"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }


def main() -> int:
    """Select the stack, making it first where it is new, and bring it up."""
    try:
        if shutil.which("pulumi") is None:
            raise Failure(
                "Missing on this machine:\n  - pulumi (https://www.pulumi.com/docs/install)\n"
                "Without it, `make up` runs the same services as plain processes."
            )
        home = homes.find()
        home.prepare()
        with locked(home):
            settings = environment(home)
            arguments = sys.argv[1:] or ["up", "--yes"]
            for command in (["stack", "select", "--create", "local"], [*arguments, "-s", "local"]):
                done = subprocess.run(["pulumi", *command], cwd=PROJECT, env=settings)
                if done.returncode != 0:
                    return done.returncode
    except (Failure, HomeError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
