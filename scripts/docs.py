"""The parts of the documents that the code writes, so that they cannot say something else.

A document marks such a part with `<!-- begin: NAME (make render) -->` and `<!-- end: NAME -->`;
`make render` writes what stands between, `make lint` compares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra import versions
from infra.collector import rules
from infra.host import capacity, cost
from infra.settings import Settings, validated
from stacks.home import PROJECT

_BEGIN = "<!-- begin: {name} (make render) -->"
_END = "<!-- end: {name} -->"
_MARKED = re.compile(
    r"<!-- begin: (?P<name>[a-z-]+) \(make render\) -->\n.*?<!-- end: (?P<end>[a-z-]+) -->",
    re.DOTALL,
)
_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "`true` or `false`",
    "object": "map of text to text",
    "array": "list",
}
_RECALL, _PRECISION = 0.995, 0.99
PROOF = PROJECT / "benchmarks" / "proof.json"
"""What `make bench` measured of the rules of sanitization."""
_TARGET = re.compile(r"^([a-z-]+):.*?## (.+)$", re.MULTILINE)


class DocumentError(ValueError):
    """A document asks for a part that nobody writes, or does not close one."""


def documents(project: Path = PROJECT) -> dict[Path, str]:
    """Every document with a generated part, by path, as it should read."""
    written = parts()
    found = {}
    folders = (project, project / "docs", project / "queries")
    for path in (path for folder in folders for path in sorted(folder.glob("*.md"))):
        text = path.read_text(encoding="utf-8")
        if "<!-- begin: " in text:
            found[path] = filled(text, written, path.name)
    return found


def filled(text: str, written: dict[str, str], where: str) -> str:
    """A document with its marked parts written anew. Raises DocumentError on a bad mark."""

    def write(match: re.Match[str]) -> str:
        name = match["name"]
        if name != match["end"] or name not in written:
            message = f"{where}: part {name!r} is not closed by its name, or nobody writes it"
            raise DocumentError(message)
        return f"{_BEGIN.format(name=name)}\n\n{written[name]}\n\n{_END.format(name=name)}"

    result, count = _MARKED.subn(write, text)
    if count != text.count("<!-- begin: ") or count != text.count("<!-- end: "):
        message = f"{where}: a generated part is not closed"
        raise DocumentError(message)
    return result


def parts() -> dict[str, str]:
    """What there is to generate, by name, as Markdown."""
    return {
        "settings": _settings(),
        "ports": _ports(),
        "commands": _commands(),
        "targets": _targets(),
        "versions": _versions(),
        "attributes": _attributes(),
        "content": _content(),
        "refused": _refused(),
        "proof": _proof(),
        "pseudonyms": _pseudonyms(),
        "patterns": _patterns(),
        "queries": _queries(),
        "report": _report(),
        "team": _team(),
        "capacity": _capacity(),
        "cloud-cost": _cloud_cost(),
        "cloud-sizes": _cloud_sizes(),
    }


def settings() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every setting: its key such as `ports.health`, and its JSON schema."""
    schema = Settings.model_json_schema(by_alias=True)
    for group, _, properties in _groups(schema, schema):
        for name, declared in properties.items():
            yield f"{group}.{name}", declared
    yield from _single(schema).items()


def _single(schema: dict[str, Any]) -> dict[str, Any]:
    """Settings that stand in no group."""
    return {key: each for key, each in schema["properties"].items() if "$ref" not in each}


def _groups(
    schema: dict[str, Any], node: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Groups of settings: key, meaning, and the settings in them, without nested groups."""
    for name, declared in node["properties"].items():
        if "$ref" not in declared:
            continue
        group = schema["$defs"][declared["$ref"].rsplit("/", 1)[1]]
        plain = {key: each for key, each in group["properties"].items() if "$ref" not in each}
        yield prefix + name, group["description"], plain
        yield from _groups(schema, group, f"{prefix}{name}.")


def _settings() -> str:
    schema = Settings.model_json_schema(by_alias=True)
    return "\n\n".join(
        [
            _settings_table("", _single(schema)),
            *(
                f"### {group}\n\n{meaning}\n\n{_settings_table(f'{group}.', properties)}"
                for group, meaning, properties in _groups(schema, schema)
            ),
        ]
    )


def _settings_table(prefix: str, properties: dict[str, Any]) -> str:
    return _table(
        ("key", "type", "default", "range", "meaning"),
        (
            (
                f"`{prefix}{name}`",
                _TYPES[each["type"]],
                f"`{_shown(each.get('default', {}))}`",
                _range(each),
                _cell(each["description"]),
            )
            for name, each in properties.items()
        ),
    )


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value == ():
        return "[]"
    return '""' if value == "" else str(value)


def _range(declared: dict[str, Any]) -> str:
    if "minimum" in declared:
        return f"{declared['minimum']:,} to {declared['maximum']:,}"
    if "enum" in declared:
        return ", ".join(f"`{each}`" for each in declared["enum"])
    if "maxLength" in declared:
        return f"up to {declared['maxLength']} characters"
    return ""


def _ports() -> str:
    found = Settings.model_json_schema(by_alias=True)["$defs"]["Ports"]["properties"]
    return _table(
        ("port", "setting", "what answers there"),
        (
            (str(each["default"]), f"`ports.{name}`", _cell(each["description"]))
            for name, each in found.items()
        ),
    )


def _commands() -> str:
    import typer.main

    from scripts.cli import app

    group: Any = typer.main.get_command(app)
    return _table(
        ("command", "what it does"),
        ((f"`telemetry {name}`", _cell(each.help)) for name, each in _below(group)),
    )


def _below(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Commands of a group by name; of a group within it, each."""
    for name, each in group.commands.items():
        if hasattr(each, "commands"):
            yield from _below(each, f"{before}{name} ")
        else:
            yield before + name, each


def _targets() -> str:
    found = _TARGET.findall((PROJECT / "Makefile").read_text(encoding="utf-8"))
    return _table(("target", "what it does"), ((f"`make {name}`", _cell(t)) for name, t in found))


def _versions() -> str:
    from scripts.toolchain import LIBCHDB_VERSION

    oldest = ".".join(str(part) for part in versions.CLICKHOUSE_MINIMUM)
    prometheus = ".".join(str(part) for part in versions.PROMETHEUS_MINIMUM)
    rows = (
        ("OpenTelemetry Collector, with `make up`", versions.COLLECTOR_VERSION),
        ("ClickHouse out of libchdb, with `make up`", LIBCHDB_VERSION),
        ("a `clickhouse` of your own", f"{oldest} or newer"),
        ("Collector image, in Docker", f"`{versions.COLLECTOR_IMAGE.partition('@')[0]}`"),
        ("ClickHouse image, in Docker", f"`{versions.CLICKHOUSE_IMAGE.partition('@')[0]}`"),
        ("Prometheus image, in Docker", f"`{versions.PROMETHEUS_IMAGE.partition('@')[0]}`"),
        ("a `prometheus` of your own", f"{prometheus} or newer"),
    )
    return _table(("program", "version"), rows)


def _attributes() -> str:
    return _table(
        ("attribute", "stored as", "why it is kept", "for how long"),
        (
            (
                f"`{each.name}`",
                f"`{each.column}`" if each.column else "in `extra`",
                _cell(each.why),
                "as the event",
            )
            for each in rules.attributes()
            if each.level == "none"
        ),
    )


def _content() -> str:
    days = Settings.model_validate({}).retention.content_days
    return _table(
        ("text", "from level", "why it is kept", "for how long"),
        (
            (f"`{each.name}`", f"`{each.level}`", _cell(each.why), f"{days} days")
            for each in rules.content("full")
        ),
    )


def _refused() -> str:
    return _table(
        ("attribute", "why it is not stored"),
        ((f"`{each.name}`", _cell(each.why)) for each in rules.refused()),
    )


def _pseudonyms() -> str:
    return _table(
        ("attribute", "why it is wanted at all"),
        ((f"`{each.name}`", _cell(each.why)) for each in rules.pseudonyms()),
    )


def _patterns() -> str:
    return _table(
        ("class", "what is cut out"),
        ((f"`{each.name}`", _cell(each.what)) for each in rules.patterns()),
    )


def _proof() -> str:
    """Recall by class of the corpora, precision by class of the rules."""
    found = json.loads(PROOF.read_text(encoding="utf-8"))
    parts = [
        f"Measured at commit {found['commit']}, through the real collector. The goal: recall of "
        f"{_RECALL:.1%}, precision of {_PRECISION:.0%}.",
        _corpora(found),
    ]
    for name, each in found["corpora"].items():
        parts += [
            f"### The {name} corpus",
            _table(
                ("what must go", "texts", "passed", "recall"),
                (
                    (family, str(row["sent"]), str(row["passed"]),
                     f"{1 - row['passed'] / row['sent']:.1%}")
                    for family, row in each["recall"].items()
                ),
            ),
            _table(
                ("class", "texts rightly cut", "harmless texts cut", "precision"),
                (
                    (f"`{rule}`", str(row["right"]), str(row["wrong"]),
                     f"{row['right'] / (row['right'] + row['wrong']):.1%}")
                    for rule, row in each["precision"].items()
                ),
            ),
        ]  # fmt: skip
    return "\n\n".join(parts)


def _corpora(found: dict[str, Any]) -> str:
    """Recall and precision of each corpus, and what it showed at first sight."""
    rows = []
    for name, each in found["corpora"].items():
        sent = sum(row["sent"] for row in each["recall"].values())
        passed = sum(row["passed"] for row in each["recall"].values())
        benign = each["benign"]
        recall, cut = 1 - passed / sent, sent - passed
        precision = cut / (cut + benign["harmed"])
        blind = found["blind"].get(name)
        rows.append(
            (
                name,
                "" if blind is None else f"{blind['recall']:.1%}, {blind['precision']:.1%}",
                f"{sent:,}",
                f"{passed:,}",
                f"{recall:.2%}",
                f"{benign['sent']:,}",
                f"{benign['harmed']:,}",
                f"{precision:.2%}",
                "reached" if recall >= _RECALL and precision >= _PRECISION else "**missed**",
            )
        )
    return _table(
        ("corpus", "at first sight", "texts with a secret", "passed", "recall",
         "harmless texts", "cut into", "precision", "goal"),
        rows,
    )  # fmt: skip


SIZES = (
    ("e2-medium", 50),
    ("e2-standard-2", 100),
    ("e2-standard-8", 500),
    ("n2-standard-16", 2000),
)
"""Machine types and GiB of the data disk, of which the documents tell the cost."""


def _cloud_cost() -> str:
    """The estimate for the default machine and disk, line by line."""
    cloud = Settings().cloud
    lines = cost.estimate(_sized(cloud.machine_type, cloud.data_disk_gib))
    return _table(
        ("what", "how much", "USD a month", "list price"),
        (
            *(
                (each.what, each.amount, f"{each.usd:.2f}", f"[source]({each.source})")
                for each in lines
            ),
            ("together", "", f"{cost.total(lines):.2f}", f"of {cost.price_list().checked}"),
        ),
    )


def _cloud_sizes() -> str:
    """What each size costs."""
    return _table(
        ("`cloud.machineType`", "`cloud.dataDiskGib`", "USD a month"),
        (
            (f"`{machine}`", f"{disk:,}", f"{cost.total(cost.estimate(_sized(machine, disk))):.0f}")
            for machine, disk in SIZES
        ),
    )


def _sized(machine: str, disk: int) -> Settings:
    """A size, its disk four fifths full."""
    values = {"machineType": machine, "dataDiskGib": disk}
    return validated([{"cloud": values, "limits": {"storeGib": disk * 0.8}}])


def _queries() -> str:
    from scripts.queries import shipped

    return _table(
        ("name", "question", "parameters"),
        (
            (
                f"[{each.name}](sql/{each.name}.sql)",
                _cell(each.question),
                ", ".join(
                    f"`{p.name}`" if p.default is None else f"`{p.name}={p.default}`"
                    for p in each.parameters
                ),
            )
            for each in shipped().values()
        ),
    )


def _report() -> str:
    from scripts.report import FOLDER, TITLES

    return _sections(FOLDER, {name: (title, name) for name, title in TITLES.items()})


def _team() -> str:
    from scripts.report import TEAM, TEAM_TITLES, asked_by

    return _sections(TEAM, {name: (title, asked_by(name)) for name, title in TEAM_TITLES.items()})


def _sections(folder: Path, titles: Mapping[str, tuple[str, str]]) -> str:
    """Of a report: for each section its title, and the question that it asks."""
    from scripts.queries import shipped

    questions = shipped(folder)
    return _table(
        ("section", "in CSV and JSON", "what it answers"),
        (
            (title, f"`{name.replace('-', '_')}`", _cell(questions[question].question))
            for name, (title, question) in titles.items()
        ),
    )


def _capacity() -> str:
    """What members take, by their number."""
    plans = [capacity.plan(capacity.Load(members=number)) for number in (10, 1000, 100_000)]
    rows = (
        ("sessions at work", *(_figure(each.load.sessions_at_once) for each in plans)),
        ("requests a second, at most", *(_figure(each.load.requests_a_second) for each in plans)),
        ("events a second", *(_figure(each.load.events_a_second) for each in plans)),
        ("events kept, millions", *(_figure(each.load.events_kept / 1e6) for each in plans)),
        ("GiB on disk", *(_figure(each.load.gib) for each in plans)),
        ("cores that take requests", *(_figure(each.load.door_cores) for each in plans)),
        ("cores that store", *(_figure(each.load.store_cores(each.doors)) for each in plans)),
        ("endpoints", *(f"{each.doors} x `e2-standard-{each.door_cpus}`" for each in plans)),
        (
            "ClickHouse",
            *(
                f"{each.shards} shards of `e2-standard-{each.shard_cpus}`"
                if each.shards
                else "on that machine"
                for each in plans
            ),
        ),
        ("data disk of each that stores", *(f"{each.disk_gib} GiB" for each in plans)),
        ("USD a month, about", *(_figure(float(each.usd)) for each in plans)),
    )
    head = ("", *(f"{each.load.members:,} members" for each in plans))
    return _table(head, rows)


def _figure(value: float) -> str:
    """With two digits that count, or whole."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)
