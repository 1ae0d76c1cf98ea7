"""Texts by content level, part of step 3: what the level does not keep goes first, and from what it
keeps the contents of files, before any rule looks at it.

Nothing here tells a secret from other text: that is for the patterns, which come after.
"""

from __future__ import annotations

import re

from infra.collector import ottl, rules
from infra.settings import Settings

_FILE_KEYS = (
    "content",
    "old_string",
    "new_string",
    "old_str",
    "new_str",
    "new_source",
    "file_text",
    "insert_text",
    "patch",
    "diff",
)
"""Where a tool's input holds what a file holds."""

_FILE = r'\\*"(?:file_path|notebook_path|path)\\*"\s*:'
"""RE2 of where a tool's input names the file that it works on."""
_SEPARATOR = r"(?:/|\\{1,4})"
_IN_JSON = r"(?:[^\"\\]|\\.)*"

_NO_FILE = (
    rf'(\\*"(?:{"|".join(_FILE_KEYS)})\\*"\s*:\s*\\*"){_IN_JSON}',
    "${1}[contents]",
)
_NO_CODE = (
    # A fenced block and a diff; one without an end goes on to the end.
    (r"(?s)```.*?(?:```|$)", "[code]"),
    (r"(?s)(^|\n|\\n)(?:diff --git |@@ -[0-9]).*$", "${1}[diff]"),
)
_NO_HEREDOC = (
    r"(<<-?[ ]?\\*['\"]?[A-Za-z_]{1,40}\\*['\"]?[^\n\\\"]{0,80})(?:\n|\\+n)" + _IN_JSON,
    "${1} [contents]",
)


def refused(settings: Settings) -> tuple[str, ...]:
    """Attributes to drop by name: never stored, or not at this level."""
    kept = {each.name for each in rules.content(settings.content)}
    return (
        *(each.name for each in rules.refused()),
        *(
            each.name
            for each in rules.attributes()
            if each.level != "none" and each.name not in kept
        ),
    )


def allowed(settings: Settings) -> tuple[str, ...]:
    """The allow-list at this level, in alphabetical order."""
    never = set(refused(settings))
    return tuple(
        sorted(
            {each.name for each in rules.attributes() if each.name not in never}
            | {each.name for each in settings.sanitize.attributes}
        )
    )


def drop(settings: Settings, path: str) -> list[str]:
    """Statements that drop what is known and not to be stored."""
    statements = [f'delete_key({path}.attributes, "{name}")' for name in refused(settings)]
    if path == "log" and "prompt" in {each.name for each in rules.content(settings.content)}:
        prompt, twin = ottl.attribute(path, "prompt"), ottl.attribute(path, "prompt_text")
        return [f"set({prompt}, {twin}) where {prompt} == nil and {twin} != nil", *statements]
    return statements


def shape(settings: Settings) -> list[str]:
    """Statements on the texts of a log record; none where the level keeps none."""
    kept = [each.name for each in rules.content(settings.content)]
    if not kept:
        return []
    error, message = ottl.attribute("log", "error"), ottl.attribute("log", "error.message")
    statements = [f"set({message}, {error}) where {error} != nil"]
    texts = ", ".join(ottl.attribute("log", name) for name in kept)
    code = settings.code
    unwanted = []
    if code.exclude_paths or code.include_only:
        statements.append(f'set(log.cache["texts"], Concat([{texts}], "\\n"))')
    if code.exclude_paths:
        unwanted.append(f'IsMatch(log.cache["texts"], {ottl.literal(_paths(code.exclude_paths))})')
    if code.exclude_tools:
        unwanted += [
            f'{ottl.attribute("log", "tool_name")} == "{tool}"' for tool in code.exclude_tools
        ]
    if code.include_only:
        included = rf'{_FILE}\s*\\*"{_IN_JSON}{_paths(code.include_only)}'
        unwanted.append(
            f'(IsMatch(log.cache["texts"], {ottl.literal(_FILE)}) and not '
            f'IsMatch(log.cache["texts"], {ottl.literal(included)}))'
        )
    for condition in unwanted:
        statements += [f'delete_key(log.attributes, "{name}") where {condition}' for name in kept]
    if not code.include_only:
        statements += [
            ottl.replace(ottl.attribute("log", name), *_NO_FILE)
            for name in kept
            if name.startswith("tool_")
        ]
    for name in kept:
        cuts = (_NO_HEREDOC,) if name.startswith("tool_") else _NO_CODE
        statements += [ottl.replace(ottl.attribute("log", name), *cut) for cut in cuts]
    return statements


def _glob(glob: str) -> str:
    """RE2 of a glob, whichever way the path is written."""
    parts = re.split(r"(\*\*/?|\*|\?|/)", glob)
    written = {
        "**/": rf"(?:[^\s\"']*{_SEPARATOR})?",
        "**": r"[^\s\"']*",
        "*": r"[^\s\"'/\\]*",
        "?": r"[^\s\"'/\\]",
        "/": _SEPARATOR,
    }
    return "".join(written.get(part, re.escape(part)) for part in parts)


def _paths(globs: tuple[str, ...]) -> str:
    """RE2 of a text that names a path of one of these globs."""
    either = "|".join(map(_glob, globs))
    return rf"(?:^|[^A-Za-z0-9_.-])(?:{either})(?:$|[^A-Za-z0-9_./\\-]|[.](?:\s|$)|\\[nrt\"])"
