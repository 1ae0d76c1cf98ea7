"""What the documents say is so: links, generated parts, messages, promises."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from scripts import docs
from stacks.home import PROJECT

from .reading import Document, document, documents, tracked

DOCUMENTS = documents()
BEGINNINGS = ("README.md", "CONTRIBUTING.md", "DATA-USAGE-POLICY.md", "docs/SETTINGS.md")
# A folder of somebody's machine; `member` is nobody.
MACHINE = re.compile(
    r"(?<![\w.~$}])/(?:root|w[o]rk|t[m]p/\w+|(?:home|Users)/(?!member\b)\w+)(?:/|\b)"
)
REGISTRY = re.compile(
    r"(?:files\.pythonhosted|pypi|registry\.npmjs|registry\.yarnpkg|npm\.pkg\.github"
    r"|proxy\.golang|sum\.golang|deb\.debian|archive\.ubuntu|artifactory|jfrog|nexus)"
    r"\.[a-z]{2,}|simple/\s|--index-url|\bresolved\b\"",
    re.IGNORECASE,
)


@pytest.mark.parametrize("each", DOCUMENTS, ids=lambda each: each.name)
def test_every_relative_link_leads_somewhere(each: Document) -> None:
    dead = []
    for link in each.links():
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (each.path.parent / file).resolve() if file else each.path
        if not target.exists() or (anchor and anchor not in Document(target).anchors()):
            dead.append(link)
    assert dead == []


def test_generated_parts_are_what_the_code_says_now() -> None:
    stale = [path.name for path, text in docs.documents().items() if path.read_text() != text]
    assert stale == [], "run `make render`"


def test_the_documents_that_must_not_drift_have_generated_parts() -> None:
    assert {PROJECT / name for name in BEGINNINGS} <= set(docs.documents())


@pytest.mark.parametrize(
    "text",
    [
        "<!-- begin: settings (make render) -->\nno end",
        "<!-- begin: settings (make render) -->\n<!-- end: ports -->",
        "<!-- begin: nothing (make render) -->\n<!-- end: nothing -->",
        "<!-- end: settings -->",
    ],
    ids=["open", "closed by another", "unknown", "only an end"],
)
def test_a_bad_mark_is_refused_and_eats_no_text(text: str) -> None:
    with pytest.raises(docs.DocumentError):
        docs.filled(text, {"settings": "x", "ports": "y"}, "a document")


def test_the_policy_names_every_kept_attribute_and_no_other() -> None:
    """Held against the collector's rendered configuration, not against the rules it came from."""
    collector = yaml.safe_load((PROJECT / "tests/golden/embedded/collector.yaml").read_text())
    statements = [
        statement
        for group in collector["processors"]["transform/sanitize"]["log_statements"]
        for statement in group["statements"]
        if statement.startswith("keep_keys(log.attributes, ")
    ]
    assert len(statements) == 1
    kept = set(re.findall(r'"([^"]+)"', statements[0]))
    part = re.search(
        r"<!-- begin: attributes .*?-->(.*?)<!-- end: attributes -->",
        document("DATA-USAGE-POLICY.md").text,
        re.DOTALL,
    )
    assert part is not None
    named = re.findall(r"^\| `([^`]+)` \|", part[1], re.MULTILINE)
    assert set(named) == kept
    assert len(named) == len(kept)


def test_the_retention_of_the_policy_is_the_default() -> None:
    defaults = {key: declared.get("default") for key, declared in docs.settings()}
    promised = re.search(r"raw events and data points \| (\d+) days", policy := _policy())
    assert promised is not None, policy
    for key in ("retention.eventsDays", "retention.metricsDays"):
        assert defaults[key] == int(promised[1])


def _policy() -> str:
    return document("DATA-USAGE-POLICY.md").text


def _said_by(path: Path) -> str:
    """All texts of a Python file, joined where a value is put in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return "\n".join(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def test_every_message_in_troubleshooting_is_one_that_the_code_gives() -> None:
    sources = tracked("infra/*.py", "stacks/*.py", "scripts/*.py", "toolchain/*.py")
    said = "\n".join(_said_by(path) for path in sources)
    said += (PROJECT / "toolchain/preflight.sh").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)`", document("docs/TROUBLESHOOTING.md").text, re.MULTILINE)
    unsaid = [
        message
        for message in messages
        if not all(piece.strip() in said for piece in message.split("…"))
    ]
    assert unsaid == []
    assert len(messages) > 20


def test_every_pinned_dependency_has_its_licence_in_the_notice() -> None:
    notice = (PROJECT / "NOTICE").read_text(encoding="utf-8").lower()
    wanted = [
        re.split(r"[=<>~\[ ]", line)[0].lower()
        for file in sorted((PROJECT / "requirements").glob("*.in"))
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith(("#", "-"))
    ]
    listed = set(re.findall(r"[a-z][a-z0-9-]*", notice))
    assert [name for name in wanted if name not in listed] == []


@pytest.mark.parametrize("each", DOCUMENTS, ids=lambda each: each.name)
def test_no_document_names_a_folder_of_a_machine_or_a_registry(each: Document) -> None:
    assert MACHINE.findall(each.text) == []
    assert REGISTRY.findall(each.text) == []


@pytest.mark.parametrize(
    "path",
    tracked("requirements.txt", "requirements/*", "toolchain/clickhouse/*.json"),
    ids=lambda path: path.name,
)
def test_no_lock_names_a_registry(path: Path) -> None:
    assert REGISTRY.findall(path.read_text(encoding="utf-8")) == []


def test_nothing_in_git_holds_a_salt_of_somebodys_pulumi_state() -> None:
    """Asked of the index: in a member's own working copy Pulumi may well have written one."""
    salted = subprocess.run(
        ["git", "grep", "--cached", "-lE", "encryptionsalt *:", "--", "*.yaml", "*.yml"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert (salted.returncode, salted.stdout) == (1, ""), salted.stderr


def test_every_document_that_the_code_points_to_exists() -> None:
    files = tracked("*.py", "*.sh", "*.yaml", "*.toml", "*.in", "Makefile")
    named = {
        (str(path.relative_to(PROJECT)), name)
        for path in files
        for name in re.findall(r"\bdocs/[A-Z][A-Z-]*\.md\b", path.read_text(encoding="utf-8"))
    }
    assert {each for each in named if not (PROJECT / each[1]).exists()} == set()
