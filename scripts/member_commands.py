"""`telemetry member ...`: one function a subcommand; scripts/member.py does the work."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scripts.commands import Json, On, Yes, agreed, command
from scripts.console import out, print_json, say
from scripts.errors import Failure, Misuse

if TYPE_CHECKING:
    from scripts.credentials import Credentials
    from scripts.member import Office

app = typer.Typer(
    help="Who may send to and ask a store that several people use, and their credentials.",
    no_args_is_help=True,
)

Who = Annotated[str, typer.Argument(metavar="ID", help="An id, or a name that is known here.")]
Team = Annotated[str, typer.Option(help="Team that their events are filed under.")]
Output = Annotated[
    Path | None,
    typer.Option(help="Write the credentials into that file, for you alone, and show none."),
]


def _office(on: str) -> Office:
    from infra.settings import load
    from scripts import cloud, member
    from stacks import home as homes
    from stacks.home import PROJECT

    home = homes.find()
    home.prepare()
    if on:
        return member.there(cloud.open_cloud(on), home)
    return member.here(load(PROJECT, home.path), home)


@app.command()
@command
def add(
    name: Annotated[str, typer.Argument(help="What you call them. It stays on this machine.")],
    role: Annotated[
        Literal["member", "coordinator", "auditor"],
        typer.Option(help="A member sends, and asks for their own rows; the others only ask."),
    ] = "member",
    team: Team = "",
    output: Output = None,
    on: On = "",
    json: Json = False,
) -> None:
    """Make credentials for someone new. They are shown once, and kept as hashes only."""
    _check_output(output)
    office = _office(on)
    _refuse_library(office)
    given = office.add(name, role, team)
    _hand_out(given, output, json)
    _take_effect(office)


@app.command("list")
@command
def list_(on: On = "", json: Json = False) -> None:
    """Who has a login, and which of their credentials hold until when."""
    from scripts import query as asking
    from scripts.member import COLUMNS

    found = _office(on).entries()
    if json:
        print_json([each.as_json() for each in found])
        return
    asking.show(COLUMNS, [each.row for each in found], "table")


@app.command()
@command
def show(who: Who, on: On = "", json: Json = False) -> None:
    """The same of one of them."""
    from scripts.member import COLUMNS

    office = _office(on)
    login = office.find(who)
    [found] = [each for each in office.entries() if each.id == login.id]
    if json:
        print_json(found.as_json())
        return
    for column, value in zip(COLUMNS, found.row, strict=True):
        out.print(f"{column}: {value or '-'}", markup=False)


@app.command()
@command
def rotate(
    who: Who,
    query: Annotated[bool, typer.Option("--query", help="Only what they ask with.")] = False,
    ingest: Annotated[bool, typer.Option("--ingest", help="Only what they send with.")] = False,
    overlap: Annotated[
        str, typer.Option(help="How long the ones before still hold: 7d, 12h, 30m; 0 ends them.")
    ] = "7d",
    team: Annotated[
        str | None, typer.Option(help="Move them to another team; empty: to none.")
    ] = None,
    output: Output = None,
    on: On = "",
    json: Json = False,
) -> None:
    """Make new credentials for someone. The ones before hold for a while."""
    from scripts import member

    _check_output(output)
    holds = member.seconds(overlap)
    office = _office(on)
    sends = office.find(who).role == "member"
    both = query == ingest
    # The team is part of the login that they send with.
    ingest = (both and sends) or ingest or (team is not None and sends)
    given = office.rotate(who, query=query or both, ingest=ingest, overlap=holds, team=team)
    _hand_out(given, output, json)
    if team is not None and sends:
        say("What they sent with before ends now: the team is part of that login.")
    elif holds:
        say(f"The ones before hold for {overlap} more.")
    _take_effect(office)


@app.command()
@command
def revoke(who: Who, on: On = "", yes: Yes = False) -> None:
    """Take someone's login away. What they sent stays."""
    from scripts import who as naming

    office = _office(on)
    if not yes:
        known = naming.directory(office.home)
        login = office.find(who)
        shown = f"{login.id} ({known[login.id]})" if login.id in known else login.id
        say(f"This takes the login of {shown} away, for ever: nothing they send or ask is let in,")
        say("and no client certificate of theirs. Their rows stay, and go as all rows do.")
        if not agreed("Revoke?"):
            out.print("Nothing was changed.")
            raise typer.Exit(1)
    identity, there = office.revoke(who)
    if not there:
        out.print(f"{identity} has no login; nothing was changed.")
        return
    out.print(f"Revoked {identity}. Their rows stay; `telemetry purge` deletes rows.")
    _take_effect(office)


@app.command()
@command
def keys(
    on: On = "",
    rotate: Annotated[
        Literal["admin", "ingest", "edge"] | None,
        typer.Option(
            help="Make one anew: the administrator's password, that of the collector, or the "
            "edge's own CA.",
            show_default=False,
        ),
    ] = None,
    yes: Yes = False,
) -> None:
    """Make the keys of a shared endpoint, where there are none yet; or one of them anew."""
    from scripts import member

    office = _office(on)
    if office.cloud is None:
        raise Misuse("Name the endpoint with --on: `telemetry up` makes this machine's own keys.")
    edge = office.settings.edge
    if rotate == "edge":
        if edge.acme:
            raise Misuse("This endpoint's certificate comes from a public issuer: it has no CA.")
        say("Nobody reaches the endpoint any more until they have taken in the new CA's")
        say("certificate: `telemetry member rotate ID --query --output FILE` hands it out.")
        if not yes and not agreed("Make another CA?"):
            out.print("Nothing was changed.")
            raise typer.Exit(1)
    made = member.make_keys(office.cloud)
    if rotate is None:
        out.print("Made the keys." if made else "The keys are there.")
        return
    member.rotate_key(office.cloud, rotate)
    out.print(f"Made another for {rotate}; it holds within a minute.")


@app.command()
@command
def accept(
    file: Annotated[Path, typer.Argument(help="As `telemetry member add --output` wrote it.")],
) -> None:
    """Take in credentials that you were given, on your own machine."""
    from scripts import credentials
    from stacks import home as homes

    home = homes.find()
    home.prepare()
    given = credentials.accept(home, file)
    out.print(f"You are {given.id} on {given.stack}. The file may go now: rm {file}", markup=False)
    out.print(f"Ask with: telemetry query --list; telemetry query NAME --on {given.stack}")


def _check_output(output: Path | None) -> None:
    """Before anything is changed: what is shown once must have somewhere to go."""
    if output is None:
        return
    if output.exists():
        raise Misuse(f"{output} is there already. Name another file, or move that one away.")
    if not os.access(output.absolute().parent, os.W_OK | os.X_OK):
        raise Misuse(f"{output} cannot be written. Name a file in a folder that is there.")


def _hand_out(given: Credentials, output: Path | None, json: bool) -> None:
    from stacks.home import write_private

    if output is not None:
        write_private(output, given.text)
        say(f"Wrote the credentials to {output}, which only you can read. They are nowhere else.")
        if json:
            print_json({"id": given.id, "stack": given.stack, "file": str(output)})
        else:
            out.print(given.id)
    elif json:
        print_json({key: value for key, value in asdict(given).items() if value})
    else:
        print(given.text, end="")
        say("They are shown this once, and kept as hashes only.")


def _refuse_library(office: Office) -> None:
    """Before anything is made for who could not ask."""
    from scripts import toolchain
    from scripts.member import LIBRARY
    from stacks import stores

    if office.cloud is not None or stores.stacks(office.home):
        return
    if not toolchain.has_clickhouse(office.settings):
        raise Failure(f"This machine cannot be shared as it is. {LIBRARY}")


def _take_effect(office: Office) -> None:
    """Tell, or see to it, when a change holds."""
    from scripts import supervise
    from scripts import up as starting
    from stacks import stores
    from stacks.embedded.processes import Layout

    if office.cloud is not None:
        say("It holds within a minute.")
    elif supervise.Supervisor(Layout(office.home)).alive():
        report = starting.up(office.settings, office.home)
        if report.verdict is not None and not report.verdict.well:
            raise Failure("Verification failed:\n  " + "\n  ".join(report.verdict.differences))
        say("It holds.")
    elif stores.stacks(office.home):
        say("It holds after the next `make local`, or `pulumi up -s local`.")
    else:
        say("It holds from the next `telemetry up` on.")
