"""The parts of the documents that the code writes, so that they cannot say something else.

A document marks such a part with `<!-- begin: NAME (make render) -->` and `<!-- end: NAME -->`;
`make render` writes what stands between, `make lint` compares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from infra import versions
from infra.collector import rules
from infra.settings import Settings
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
    from scripts.queries import shipped
    from scripts.report import FOLDER, TITLES

    questions = shipped(FOLDER)
    return _table(
        ("section", "in CSV and JSON", "what it answers"),
        (
            (title, f"`{name.replace('-', '_')}`", _cell(questions[name].question))
            for name, title in TITLES.items()
        ),
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)
