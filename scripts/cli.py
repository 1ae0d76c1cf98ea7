"""The `telemetry` command: one function a subcommand; the modules beside this do the work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from infra.secrets import Secrets
from infra.settings import Settings, load
from scripts import warehouse
from scripts.commands import Json, On, Yes
from scripts.commands import agreed as _agreed
from scripts.commands import command as _command
from scripts.console import out, print_json, say
from scripts.errors import Failure, Misuse
from scripts.member_commands import app as member_app
from scripts.report_text import Scope
from scripts.warehouse import Connect
from stacks import home as homes
from stacks.home import PROJECT, Home, HomeError

app = typer.Typer(
    name="telemetry",
    help="Claude Code telemetry on your own machine: what it costs, where it fails, what works.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(member_app, name="member")

Chapter = Annotated[str, typer.Option(help="What is worked on; else found by path or branch.")]


def _oneself(on: str) -> Connect:
    """Logs in as whoever asks: to this machine's store, or to the one that `--on` names."""
    if not on:
        return lambda: warehouse.as_member(*_own())
    from scripts import credentials, endpoint

    home = homes.find()
    given = credentials.needed(home, on)
    return lambda: endpoint.as_person(home, given)


@contextmanager
def _administrator(on: str) -> Iterator[Connect]:
    """Logs in as the administrator, to read what is about everybody."""
    if not on:
        yield lambda: warehouse.reading(warehouse.as_admin(*_own()))
        return
    from scripts import administration, cloud, member

    there = cloud.open_cloud(on)
    secrets = member.keys_of(there)
    with administration.tunnelled(there, secrets) as settings:
        yield lambda: warehouse.reading(warehouse.as_admin(settings, secrets))


@contextmanager
def _of_month(scope: Scope | None, on: str) -> Iterator[tuple[Scope, Connect]]:
    """Who asks about a month, and whose. Raises Failure for rows that are not theirs to see."""
    if not on:
        if scope == "team":
            from scripts.report import of_team

            # Whose machine it is may read everything on it.
            with _administrator(on) as connect:
                yield "team", of_team(connect)
        else:
            yield "own", _oneself(on)
        return
    from scripts import credentials

    role = credentials.needed(homes.find(), on).role
    own: Scope = "team" if role == "coordinator" else "own"
    if role == "auditor" or (scope or own) != own:
        may = {"coordinator": "what a team did", "member": "one's own month"}
        raise Failure(
            f"Your credentials for {on!r} are a {role}'s: they show "
            f"{may.get(role, 'who asked what')}, and nothing else."
        )
    yield own, _oneself(on)


def _shared(on: str) -> bool:
    """Whether others use that store too."""
    if on:
        return True
    from scripts import member

    return bool(member.sharing(*_state()))


@contextmanager
def _upkeep(on: str) -> Iterator[tuple[Settings, Home]]:
    """What looks after a store: this machine's, or the endpoint's through the tunnel."""
    if not on:
        yield _state()
        return
    from scripts import administration, cloud

    with administration.administering(cloud.open_cloud(on), homes.find()) as found:
        yield found


@contextmanager
def _restored(on: str) -> Iterator[tuple[Settings, Home]]:
    """The same of a store that need not be there yet."""
    if not on:
        yield _state()
        return
    from scripts import administration, cloud

    with administration.restoring(cloud.open_cloud(on), homes.find()) as found:
        yield found


def _at_hand(on: str) -> tuple[Settings, Home]:
    """The same without the store: settings, and what is kept on this machine."""
    if not on:
        return _state()
    from scripts import administration, cloud

    there = cloud.open_cloud(on)
    return there.settings, administration.folder(homes.find(), there)


def _own() -> tuple[Settings, Secrets]:
    settings, home = _state()
    return settings, home.secrets()


def _myself(on: str) -> str:
    """Who asks: the owner of this machine, or whose credentials for an endpoint were taken in."""
    if not on:
        return _own()[1].member
    from scripts import credentials

    return credentials.needed(homes.find(), on).id


def _state() -> tuple[Settings, Home]:
    home = homes.find()
    return load(PROJECT, home.path), home


@app.command()
@_command
def up(
    at_login: Annotated[
        bool | None,
        typer.Option(
            "--at-login/--no-at-login",
            help="Start it at every login, or no longer.",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only what went wrong.")] = False,
    json: Json = False,
) -> None:
    """Start the collector and ClickHouse on this machine, and check them. Safe to repeat."""
    from scripts import link, login
    from scripts import up as starting

    settings, home = _state()
    if at_login is False:
        removed = login.remove()
        out.print("Removed the user service." if removed else "There was no user service.")
        return
    report = starting.up(settings, home)
    linked = link.link_command()
    if linked:
        report.changes.append(linked)
    if at_login:
        report.changes.append(f"installed {login.install(home)}")
    verdict = report.verdict
    if json:
        print_json(
            {
                "changes": report.changes,
                "paused": report.paused,
                "seconds": round(report.seconds, 3),
                "verified": None if verdict is None else verdict.well,
            }
        )
    elif not quiet:
        _show_up(report, settings)
    if verdict is not None and not verdict.well:
        raise Failure("Verification failed:\n  " + "\n  ".join(verdict.differences))
    if report.canary is not None and not report.canary.well:
        raise Failure(report.canary.said)


def _show_up(report: object, settings: Settings) -> None:
    from scripts.up import Report

    assert isinstance(report, Report)
    if not report.changes:
        out.print(f"Nothing to change: everything runs as configured ({report.seconds:.1f} s).")
    for change in report.changes:
        out.print(f"  {change}", markup=False)
    verdict = report.verdict
    if verdict is not None and verdict.well:
        out.print(
            f"Verified: {verdict.events_sent} events and {verdict.points_sent} metric points of a "
            f"recorded session came through in {verdict.readable:.1f} s and were removed again."
        )
    if report.canary is not None and report.canary.well:
        out.print(report.canary.said, markup=False)
    if report.changes:
        out.print(f"Ready in {report.seconds:.1f} s.")
    if report.paused:
        out.print("Paused: nothing is collected until `telemetry resume`.")
        return
    from scripts import link

    out.print("")
    if link.hint():
        out.print(link.hint(), markup=False)
    out.print("Switch Claude Code on, in the shell you start it from:")
    out.print('  eval "$(telemetry env)"          # bash, zsh', markup=False)
    out.print("  telemetry env --shell fish | source", markup=False)
    out.print("or start it with:  telemetry run -- claude")
    out.print(
        f"Claude Code sends to http://127.0.0.1:{settings.ports.otlp_http}. Ask with\n"
        "  telemetry query --sql 'SELECT event, count() FROM telemetry_events GROUP BY event'",
        markup=False,
    )


@app.command()
@_command
def down(
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Also delete everything that was stored.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Stop everything. Data stays unless --delete-data."""
    from scripts import down as stopping
    from stacks import copies

    home = homes.find()
    found = stopping.doomed(home) if delete_data else []
    if found and not yes:
        out.print("This deletes, for ever:")
        for each in found:
            out.print(f"  {each.path}  ({each.bytes / 1024**2:.1f} MiB: {each.what})", markup=False)
        out.print("Your keys, settings and backups stay.")
        if not _agreed("Delete?"):
            out.print("Nothing was deleted; nothing was stopped.")
            raise typer.Exit(1)
    ran = stopping.down(home)
    out.print("Stopped." if ran else "Nothing ran.")
    stopping.delete(found)
    if found:
        out.print("Deleted.")
        for line in copies.lines(home):
            say(line)


@app.command()
@_command
def pause() -> None:
    """Stop collecting, at once. What is stored stays."""
    from scripts import pause as pausing

    if pausing.pause(*_state()):
        out.print("Paused: nothing is collected until `telemetry resume`.")
    else:
        out.print("Paused already.")


@app.command()
@_command
def resume() -> None:
    """Collect again."""
    from scripts import pause as pausing

    settings, home = _state()
    out.print("Collecting again." if pausing.resume(settings, home) else "Was not paused.")


@app.command()
@_command
def status(on: On = "", json: Json = False) -> None:
    """What runs, what waits, what is stored. Exit code 1 when something is wrong."""
    from scripts import status as looking

    if on:
        from scripts import administration, cloud, endpoint_status

        there = cloud.open_cloud(on)
        seen = endpoint_status.status(there, administration.folder(homes.find(), there))
        if json:
            print_json(seen.as_json())
        else:
            for line in endpoint_status.lines(seen):
                out.print(line, markup=False)
        if not seen.well:
            raise typer.Exit(1)
        return

    found = looking.status(*_state())
    if json:
        print_json(found.as_json())
    else:
        for line in looking.lines(found):
            out.print(line, markup=False)
    if not found.well:
        raise typer.Exit(1)


@app.command()
@_command
def verify(
    canary: Annotated[
        bool,
        typer.Option(
            "--canary", help="Send a made-up secret of each class and look for it in all stored."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Send a recorded session through the collector, read it back, compare, remove it."""
    from dataclasses import asdict

    from scripts import member as members
    from scripts import verify as verifying

    settings, home = _state()
    if home.paused.exists():
        raise Failure("Paused: nothing is collected. `telemetry resume` first.")
    if canary:
        from scripts import canary as planting

        found = planting.canary(settings, home)
        if json:
            print_json({**asdict(found), "well": found.well})
        elif found.well:
            out.print(found.said, markup=False)
        if not found.well:
            raise Failure(found.said)
        return
    authorization = members.own_authorization(settings, home)
    verdict = verifying.verify(settings, home.secrets(), authorization)
    if json:
        print_json({**asdict(verdict), "well": verdict.well})
    elif verdict.well:
        out.print(
            f"{verdict.events_sent} events and {verdict.points_sent} metric points: acknowledged "
            f"after {verdict.acknowledged:.2f} s, readable after {verdict.readable:.2f} s, equal "
            "to what was sent, removed again."
        )
    if not verdict.well:
        raise Failure("\n".join(verdict.differences))


@app.command()
@_command
def tick(
    timer: Annotated[
        bool | None,
        typer.Option(
            "--timer/--no-timer",
            help="Have a user timer call it every hour, or no longer. Plain processes need none.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Do what is due, such as the daily canary. Called by a timer; safe to repeat."""
    from scripts import login
    from scripts import tick as ticking

    if timer is False:
        removed = login.remove_timer()
        out.print("Removed the user timer." if removed else "There was no user timer.")
        return
    if timer:
        _, home = _state()
        out.print(f"Installed {login.install_timer(home)}", markup=False)
        return
    for done in ticking.tick(*_state()):
        if not done.well:
            raise Failure(done.said)
        out.print(f"{done.name}: {done.said}", markup=False)


@app.command()
@_command
def backup(
    to: Annotated[str, typer.Option(help="Folder, s3://bucket/folder or gs://bucket/folder.")] = "",
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="In a folder too; in a bucket it always is.")
    ] = False,
    show_key: Annotated[
        bool, typer.Option("--show-key", help="Print the key instead, to be kept elsewhere.")
    ] = False,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Instead: those at --to are gone, ask no more for them."),
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option(help="File with the key of backups that were begun on another machine."),
    ] = None,
    on: On = "",
    json: Json = False,
) -> None:
    """Copy what is stored to another place. Only what changed since the last time is written."""
    from scripts import backup as saving

    settings, home = _at_hand(on)
    if key is not None:
        saving.take_key(home, key)
    if show_key:
        home.prepare()
        print(saving.key_of(home).text)
        return
    to = saving.destination(settings, home, to)
    if forget:
        out.print(f"Forgot {saving.forget(home, to)} backups.")
        return
    with _upkeep(on) as (settings, home):
        made = saving.backup(settings, home, to, encrypt=encrypt)
    if json:
        print_json(made.as_json())
    else:
        out.print(made.said, markup=False)
    if home.here and made.place == home.backup_place:
        say("It lies on the same disk: to survive its loss, name another place by --to.")
    if made.made_key:
        say(
            "Without the key, what is encrypted in it is worth nothing; copy it elsewhere now: "
            f"telemetry backup --show-key{f' --on {on}' if on else ''}"
        )


@app.command()
@_command
def restore(
    from_: Annotated[
        str, typer.Option("--from", help="Where the backups are; else where they go.")
    ] = "",
    as_of: Annotated[
        str, typer.Option(help="The last one made by then, UTC: 2026-11-29 or 2026-11-29T10:30.")
    ] = "",
    key: Annotated[
        Path | None, typer.Option(help="File with the backup's key, on another machine.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show which there are.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the backup, say what would be done, and end.")
    ] = False,
    yes: Yes = False,
    on: On = "",
    json: Json = False,
) -> None:
    """Bring a backup back. It adds what is missing, and asks where there are rows already."""
    from scripts import backup as saving
    from scripts import restore as restoring

    settings, home = _at_hand(on)
    place = saving.destination(settings, home, from_)
    if listed:
        found = restoring.backups(home, place, restoring.key(home, key))
        if json:
            print_json(found)
        for each in [] if json else found:
            out.print(f"{each:%Y-%m-%d %H:%M:%S} UTC", markup=False)
        return
    until = restoring.moment(as_of)
    with (
        _restored(on) as (settings, home),
        restoring.planned(settings, home, place, until, key) as plan,
    ):
        for line in plan.lines():
            say(line)
        if dry_run:
            return
        if plan.asks and not yes and not _agreed("Restore?"):
            out.print("Nothing was restored.")
            raise typer.Exit(1)
        done = restoring.restore(plan)
    if json:
        print_json(done.as_json())
    else:
        out.print(done.said, markup=False)


@app.command()
@_command
def scan(json: Json = False) -> None:
    """Look for secrets and personal data in what is stored; tells where, never what."""
    from dataclasses import asdict

    from scripts import query as asking
    from scripts import scan as scanning
    from scripts.console import step
    from stacks import stores

    settings, home = _state()
    with step("Scanning") as shown:
        found = scanning.scan(settings, home, shown)
    if stores.stacks(home):
        say("What containers set aside is in a volume of theirs, and not looked at.")
    if json:
        print_json(asdict(found))
    elif found.hits:
        asking.show(
            ("where", "what", "found by", "texts", "rows", "first", "last"),
            [tuple(asdict(hit).values()) for hit in found.hits],
            "table",
        )
    else:
        aside = f" and {found.set_aside:,} set aside" if found.set_aside else ""
        out.print(
            f"Nothing found in {found.texts:,} different texts of {found.rows:,} rows{aside}."
        )
    if found.hits:
        raise Failure(
            "What was found stays until it is deleted: docs/TROUBLESHOOTING.md, "
            "`One session must go`."
        )


@app.command("what-do-you-have")
@_command
def what_do_you_have(
    me: Annotated[bool, typer.Option("--me", help="Of yourself, who asks.")] = False,
    export: Annotated[
        Path | None, typer.Option(help="Write every row there, a line of JSON each.")
    ] = None,
    json: Json = False,
) -> None:
    """Show all that is stored of you: tables, values, files."""
    from scripts import holdings
    from scripts import query as asking

    if not me:
        raise Misuse("Say of whom: `telemetry what-do-you-have --me`. Of others, nobody is told.")
    settings, home = _state()
    found = holdings.holdings(settings, home)
    if json:
        print_json(found.as_json())
    else:
        out.print(f"Stored of {found.member}:")
        asking.show(
            ("table", "rows", "first", "last", "kept days"),
            [(t.table, t.rows, t.first, t.last, t.kept_days) for t in found.tables],
            "table",
        )
        asking.show(
            ("where", "different", "such as"),
            [(v.where, v.distinct, list(v.examples)) for v in found.values],
            "table",
        )
        for path, size, what in found.files:
            out.print(f"{path}  ({size} bytes: {what})", markup=False)
        for line in found.copies:
            out.print(line, markup=False)
    if export is not None:
        from stacks.home import write_private

        write_private(export, "")
        with export.open("w", encoding="utf-8") as stream:
            count = holdings.export(settings, home, stream)
        say(f"Wrote {count:,} rows to {export}, which only you can read.")


@app.command()
@_command
def who(
    value: Annotated[
        str, typer.Argument(help="An address or other value, a pseudonym, or a member's id.")
    ] = "",
    name: Annotated[
        str | None, typer.Option(help="Show it as this from now on; empty: no longer.")
    ] = None,
    json: Json = False,
) -> None:
    """Names for members and pseudonyms, kept by you alone; or which pseudonym a value has here."""
    from scripts import who as naming

    _, home = _state()
    secrets = home.secrets()
    identity = naming.identity(secrets, value) if value else secrets.member
    if name is not None:
        naming.name(home, identity, name)
    names = naming.directory(home)
    if value or name is not None:
        names = {identity: names.get(identity, "")}
    else:
        names = {secrets.member: "", **names}
    if json:
        print_json(names)
        return
    for each, shown in names.items():
        out.print(f"{each}  {shown or '(no name)'}", markup=False)


@app.command()
@_command
def sanitize(
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the rules that hold here, your team's too.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what the rules make of a text (from standard input), or the rules themselves."""
    from scripts import sanitize as sanitizing

    settings, _ = _state()
    if explain:
        sanitizing.explain(settings, "json" if json else "table")
        return
    if sys.stdin.isatty():
        say("Type a text, and end it with Ctrl-D; or: telemetry sanitize < FILE")
    result = sanitizing.cut(settings, sanitizing.read(sys.stdin.buffer))
    if json:
        print_json({"text": result.text, "found": dict(result.found)})
        return
    print(result.text, end="")
    told = ", ".join(f"{name} ({count})" for name, count in sorted(result.found.items()))
    say(f"Cut out: {told}." if told else "Nothing to cut out.")


@app.command()
@_command
def env(
    shell: Annotated[
        Literal["bash", "fish", "json"], typer.Option(help="For which reader.")
    ] = "bash",
    chapter: Chapter = "",
) -> None:
    """Print Claude Code's environment: eval "$(telemetry env)". `json`: for its user settings."""
    from scripts import env as environment

    settings, home = _state()
    found = environment.variables(
        settings, home, Path.cwd(), chapter=chapter, frozen=shell == "json"
    )
    print(environment.rendered(found, shell))


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_command
def run(
    command: Annotated[list[str], typer.Argument(help="Program and arguments, after --.")],
    chapter: Chapter = "",
) -> None:
    """Run Claude Code with telemetry on: telemetry run -- claude ..."""
    from scripts import env as environment

    settings, home = _state()
    environment.run(command, environment.variables(settings, home, Path.cwd(), chapter=chapter))


@app.command()
@_command
def query(
    name: Annotated[
        str, typer.Argument(help="A shipped question; --list shows all.", show_default=False)
    ] = "",
    sql: Annotated[
        str, typer.Option("--sql", help="A statement; {name:Type} takes a parameter.")
    ] = "",
    listed: Annotated[bool, typer.Option("--list", help="List the shipped questions.")] = False,
    form: Annotated[
        Literal["table", "json", "csv"], typer.Option("--format", help="How to print.")
    ] = "table",
    json: Json = False,
    param: Annotated[list[str] | None, typer.Option(help="name=value, may be repeated.")] = None,
    names: Annotated[
        bool, typer.Option("--names", help="Show names that `telemetry who` knows, not ids.")
    ] = False,
    on: On = "",
) -> None:
    """Ask ClickHouse as yourself, by name or by SQL: you see your own rows, each event once."""
    from scripts import queries
    from scripts import query as asking

    if json:
        form = "json"
    if [bool(name), bool(sql), listed].count(True) != 1:
        raise Misuse("Give a name, or --sql, or --list. `telemetry query --list` shows the names.")
    if listed:
        asking.list_shipped(form)
        return
    parameters = {}
    for each in param or []:
        key, equals, value = each.partition("=")
        if not equals:
            raise Misuse(f"--param takes name=value, got {each!r}.")
        parameters[key] = value
    if name:
        shipped = queries.named(name)
        sql, parameters = shipped.sql, shipped.arguments(parameters)
    columns, rows = asking.ask(_oneself(on), sql, parameters)
    if names:
        from scripts import who as naming

        known = naming.directory(homes.find())
        rows = [[known.get(cell, cell) if isinstance(cell, str) else cell for cell in row]
                for row in rows]  # fmt: skip
    asking.show(columns, rows, form)


@app.command()
@_command
def label(
    session: Annotated[str, typer.Argument(help="Its id: `telemetry query sessions`.")],
    chapter: Annotated[str, typer.Option(help="What it was about; empty: as it was sent.")],
) -> None:
    """Say afterwards which chapter a session belongs to; all reports follow."""
    from scripts import label as labelling

    settings, home = _state()
    before, cost = labelling.label(settings, home.secrets(), session, chapter)
    shown = f"to {chapter}" if chapter else "to what was sent"
    was = f" (before: {before})" if before else ""
    out.print(f"Labelled {shown}{was}: {cost:.6f} USD.", markup=False)


@app.command()
@_command
def prices(
    model: Annotated[
        str, typer.Argument(help="Add its price: the name without date and [1m].")
    ] = "",
    since: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="Day it holds from; else since ever."),
    ] = None,
    input_: Annotated[
        str | None, typer.Option("--input", help="USD per million tokens of the prompt.")
    ] = None,
    output: Annotated[str | None, typer.Option(help="The same of the answer.")] = None,
    cache_write_5m: Annotated[
        str | None, typer.Option(help="... written to the cache for five minutes.")
    ] = None,
    cache_write_1h: Annotated[
        str | None, typer.Option(help="... written to the cache for an hour.")
    ] = None,
    cache_read: Annotated[str | None, typer.Option(help="... read from the cache.")] = None,
    source: Annotated[str, typer.Option(help="Where the price comes from.")] = "",
    form: Annotated[
        Literal["table", "json", "csv"], typer.Option("--format", help="How to print.")
    ] = "table",
    json: Json = False,
) -> None:
    """The price list that `query cost-check` checks costs against: show it, or add a price."""
    from infra.warehouse.prices import FILE, PARTS, price_list
    from scripts import prices as pricing
    from scripts import query as asking

    given = (input_, output, cache_write_5m, cache_write_1h, cache_read)
    usd = dict(zip(PARTS, given, strict=True))
    if not model:
        if since or source or any(usd.values()):
            raise Misuse("Which model's price is it? `telemetry prices MODEL --input ...`")
        asking.show(pricing.COLUMNS, pricing.rows(), "json" if json else form)
        say(f"USD per million tokens, checked {price_list().checked}: {price_list().source}")
        return
    pricing.add(pricing.entry(model, since.date() if since else None, usd, source))
    say(f"Wrote {FILE}; commit it, so that your team has it too.")
    settings, home = _state()
    try:
        warehouse.write_standing_views(warehouse.as_admin(settings, home.secrets()), settings)
    except (Failure, HomeError):
        say("ClickHouse does not run here: `telemetry up` tells it.")
    else:
        say("ClickHouse knows it: `telemetry query cost-check`.")


@app.command()
@_command
def cleanup(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted.")
    ] = False,
    archive: Annotated[
        Path | None,
        typer.Option(help="Folder for what goes now or within a week, as Parquet files."),
    ] = None,
    yes: Yes = False,
    on: On = "",
    json: Json = False,
) -> None:
    """Delete what is older than the retention says; with --archive, keep a copy first."""
    from scripts import cleanup as cleaning

    def agreed(due: tuple[cleaning.Due, ...]) -> bool:
        if due and not yes:
            for line in cleaning.lines(cleaning.Cleanup(due=due)):
                say(line)
            return _agreed("Delete?")
        return True

    with _upkeep(on) as (settings, home):
        found = cleaning.cleanup(settings, home, archive=archive, dry_run=dry_run, agreed=agreed)
    if json:
        print_json(found.as_json())
        return
    for line in cleaning.lines(found):
        out.print(line, markup=False)
    if archive is not None and not dry_run:
        rows = sum(each.rows for each in found.archived)
        out.print(f"Archived {rows:,} rows in {len(found.archived)} files.", markup=False)
    if found.unseen:
        say(found.unseen)
    if found.due and not found.deleted:
        out.print("Nothing was deleted.")
        raise typer.Exit(0 if dry_run else 1)
    if found.due:
        out.print("Deleted.")


@app.command()
@_command
def purge(
    member: Annotated[
        str, typer.Option(help="Everything of a member, by id; `me` is you.", show_default=False)
    ] = "",
    session: Annotated[str, typer.Option(help="Everything of a session.", show_default=False)] = "",
    request: Annotated[
        bool, typer.Option("--request", help="Only note that it is asked for.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted.")
    ] = False,
    verify: Annotated[
        Path | None,
        typer.Option(help="Check an evidence file instead; its key stands beside it."),
    ] = None,
    yes: Yes = False,
    on: On = "",
    json: Json = False,
) -> None:
    """Delete everything of one member or session, for ever: rows, queue, archives, backups."""
    from scripts import evidence
    from scripts import purge as purging

    if verify is not None:
        content = evidence.verify(verify, verify.with_name("public-key.pem"))
        if json:
            print_json(content)
        else:
            out.print(f"{verify} is as it was signed on {content['done_at']}.", markup=False)
        return
    if bool(member) == bool(session):
        raise Misuse("Say what is to go: --member ID, --member me, or --session ID.")
    target = purging.Target("session", session)
    if member:
        target = purging.Target("member", _myself(on) if member == "me" else member)
    if request:
        with _upkeep(on) as (settings, home):
            number = purging.request(settings, home, target)
        if json:
            print_json({"number": number})
        else:
            out.print(f"Noted as {number}; within {purging.PROMISED_DAYS} days it is done.")
        return

    def agreed(plan: purging.Plan) -> bool:
        if dry_run or not json:
            say(f"This deletes, for ever, of {target.kind} {target.value}:")
            for line in purging.lines(plan):
                say(f"  {line}")
        return not dry_run and (yes or _agreed("Delete?"))

    with _upkeep(on) as (settings, home):
        done = purging.purge(settings, home, target, agreed=agreed)
    if json:
        print_json(done.as_json())
    if isinstance(done, purging.Plan):
        if not dry_run:
            out.print("Nothing was deleted.")
        raise typer.Exit(0 if dry_run else 1)
    if not json:
        for place in done.places:
            out.print(f"  {place.before:,} {place.what} in {place.where}", markup=False)
        for line in done.unreached:
            out.print(f"  left to lapse, {line}", markup=False)
    if done.again_at:
        for copy in done.copies:
            if copy.locked_until:
                say(f"The backup of {copy.made_at} in {copy.place} is locked: nobody can delete")
                say(f"it before {copy.locked_until}; by itself it goes on {copy.lapses_at}.")
        say(f"All else is gone. Request {done.number} stays open until backups are rewritten too:")
        say(f"repeat the same command on {done.again_at} or soon after.")
        raise typer.Exit(1)
    if not json:
        out.print(f"Gone. What was done, signed: {done.evidence}", markup=False)


@app.command()
@_command
def report(
    about: Annotated[
        Literal["month", "team", "retention", "governance", "access"],
        typer.Argument(help="What it is about."),
    ],
    month: Annotated[
        str, typer.Option(help="Of `month` and `team`: such as 2026-11; empty: this one, UTC.")
    ] = "",
    scope: Annotated[
        Scope | None,
        typer.Option(
            help="Of `month`: your own rows, or those of all whom a coordinator answers for; else "
            "what you may see.",
            show_default=False,
        ),
    ] = None,
    day: Annotated[
        str,
        typer.Option(
            help="Of `retention`, `governance` and `access`: as of that day, such as 2026-11-23."
        ),
    ] = "",
    form: Annotated[
        Literal["md", "html", "csv", "json"] | None,
        typer.Option(
            "--format",
            help="How to write it; else as the file is called, else md.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="A file of its own instead of the terminal.")
    ] = None,
    on: On = "",
) -> None:
    """To read or to hand on, as text, HTML, CSV or JSON: what a month cost and how it went, your
    own or a team's; the same across teams, with what changed; what is held, for how long, and what
    was deleted; who waits for a purge, and what is overdue; or who asked what in the thirty days
    before, and what was refused."""
    from scripts import report as reporting
    from scripts.report_text import Page

    of_month = about in ("month", "team")
    if (day and of_month) or (month and not of_month) or (scope and about != "month"):
        raise Misuse(
            "--month belongs to `report month` and `team`, --scope to `report month`, --day to "
            "`report retention`, `governance` and `access`."
        )
    first, until = reporting.first_day(month), reporting.last_moment(day)
    form = reporting.format_of(form, output)
    made: Page
    if about == "team":
        with _of_month("team", on) as (_, connect):
            made = reporting.ask_across(connect, first)
    elif about == "month":
        with _of_month(scope, on) as (whose, connect):
            made = reporting.ask(connect, first, scope=whose, shared=_shared(on))
    else:
        # On one's own machine one need not be the administrator, but to see who asked what.
        everybody = _administrator(on) if on or about == "access" else nullcontext(_oneself(on))
        with everybody as connect:
            if about == "retention":
                made = reporting.ask_retention(connect, until)
            elif about == "access":
                made = reporting.ask_access(connect, until)
            else:
                made = reporting.ask_governance(connect, until)
    text = reporting.rendered(made, form)
    if output is None:
        print(text, end="")
        return
    reporting.write(text, output)
    told = "." if made.has_data else f": {made.notes[0]}"
    out.print(f"Wrote {output}{told}", markup=False)


@app.command()
@_command
def scale(
    to: Annotated[Path, typer.Option(help="Folder to write into; nobody else can read it.")],
    members: Annotated[Path, typer.Option(help="File with the list of members.")],
    keys: Annotated[Path, typer.Option(help="File with lines admin_password=, ingest_password=.")],
) -> None:
    """Write what a managed ClickHouse or a cluster is set up with: schema, users, servers."""
    from infra.settings import load_cloud
    from scripts import scale as scaling

    for line in scaling.write(load_cloud(PROJECT), to, members=members, keys=keys):
        out.print(line, markup=False, soft_wrap=True)


if __name__ == "__main__":
    app()
