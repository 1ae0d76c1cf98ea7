"""What all commands share: options that mean the same everywhere, messages, exit codes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Annotated, ParamSpec, TypeVar

import typer

from infra.settings import SettingsError
from scripts.console import say
from scripts.errors import Failure, Misuse
from stacks.home import HomeError

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
On = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="STACK",
        help="The shared endpoint: its Pulumi stack, such as `cloud`; else this machine.",
        show_default=False,
    ),
]

P = ParamSpec("P")
R = TypeVar("R")


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Turn what is not so into a message and an exit code: 1 not so, 2 used wrongly."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (Failure, HomeError) as error:
            say(str(error))
            raise typer.Exit(1) from None
        except (Misuse, SettingsError) as error:
            say(str(error))
            raise typer.Exit(2) from None

    return run


def agreed(question: str) -> bool:
    """Ask whoever is there. Raises Misuse where nobody is."""
    if not sys.stdin.isatty():
        raise Misuse("Nobody is there to ask: repeat with --yes if you mean it.")
    return typer.confirm(question, default=False)
