"""Texts by content level, part of step 3: what the level does not keep goes first, and from what it
keeps the contents of files, before any rule looks at it.

Nothing here tells a secret from other text: that is for the patterns, which come after.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from infra.collector import ottl, rules
from infra.settings import Settings


@dataclass(frozen=True)
class _Cut:
    """A replacement, and RE2 of the texts that it concerns, unless it is all."""

    regex: str
    shown: str
    where: str = ""


_NEWLINE = r"(?:\r?\n|\\+r\\+n|\\+[nr])"
"""As it is, or as JSON writes it."""
_SEPARATOR = r"(?:/|\\{1,4})"
_IN_JSON = r"(?:[^\"\\]|\\.)*"
"""What is left of a string in JSON, however deep that stands in other strings."""
_IN_PATH = r"""["'](?:[^"'\\]|\\+[^"'\\])*"""
_IS_JSON = r'^\s*(?:[{\[]\s*["{\[\]}]|")'

# Inputs that name a file: strings of the fields listed here may stay, and no other.

_PATHS = (
    r"(?i:(?:(?:absolute|relative|source|target|old|new|dest|destination)_?)?"
    r"(?:file_?|notebook_?)?path|file|file_?name|(?:target|source)_file|uri)"
)
_FIELDS = (
    "action|bash_command|cell_id|cell_type|command|description|edit_mode|encoding|full_command|glob"
    "|language|limit|mcp_server_name|mcp_tool_name|mode|offset|output_mode|pages|pattern"
    "|replace_all|subagent_type|timeout|type"
)
_FILE = rf"""\\*["'](?:{_PATHS}|[^"'\\\s]*\.[A-Za-z][A-Za-z0-9]{{0,9}})\\*["']\s*:"""
"""RE2 of where a tool's input names a file that it works on, in a field or as one."""
_TAKEN = "\ue001"
"""Stands for a string that goes, and for a moment behind what stays; of no meaning in Unicode."""
_QUOTED = (r'"(?:[^"\\]|\\.)*', '"'), (r"'(?:[^'\\]|\\.)*", "'")
_LINE = r"""(?:"(?:[^"\\\n]|\\[^nr])*"|'(?:[^'\\\n]|\\[^nr])*')"""
_WHOLE = "(?:" + "|".join(string + end for string, end in _QUOTED) + ")"
_CUT_OFF = "|".join(rf"{string}(?:{end}|\\?$)" for string, end in _QUOTED)

_NO_OTHER_FIELDS = (
    _Cut(_TAKEN, ""),
    # Every string is read, so that none begins in the middle of another.
    _Cut(
        rf"""(?s)(["']?\b(?:{_PATHS}["']?\s*:\s*{_LINE}|(?:{_FIELDS})["']?\s*:\s*{_WHOLE})"""
        rf"|{_WHOLE}\s*:)|{_CUT_OFF}",
        f"${{1}}{_TAKEN}",
        where=_FILE,
    ),
    _Cut(rf"""(["':]){_TAKEN}""", "${1}"),
    _Cut(_TAKEN, '"[contents]"'),
)

# Other inputs: fields that hold what a file holds.

_NOUNS = (
    *("contents?", "text", "code", "body", "data", "lines?", "source", "snippet", "script"),
    *("patch", "diff", "hunks?", "replacement", "string", "str"),
)
_FILE_KEY = (
    r"""\\*["'](?:(?i:(?:[a-z0-9]+[_-])*(?:"""
    + "|".join(_NOUNS)
    + r")|edits?|old|new|stdin)|[a-z]+(?:"
    + "|".join(noun.capitalize() for noun in _NOUNS)
    + r"""))\\*["']\s*:\s*"""
)
_NO_CONTENTS = (
    _Cut(rf'(?s)({_FILE_KEY}\\*"){_IN_JSON}', "${1}[contents]"),
    _Cut(rf"(?s)({_FILE_KEY}\\*')(?:[^'\\]|\\.)*", "${1}[contents]"),
    # Lists of strings; one in a string goes with all that follows in that.
    _Cut(
        rf'(?s)({_FILE_KEY})\[\s*"{_IN_JSON}"?(?:\s*,\s*"{_IN_JSON}"?)*\s*\]?', '${1}"[contents]"'
    ),
    _Cut(rf"""(?s)({_FILE_KEY}\[)\s*(?:\\+"|'){_IN_JSON}""", "${1}[contents]"),
)
_NO_CONTENTS_ELSEWHERE = (
    # Where it ends cannot be told.
    _Cut(rf"(?s)({_FILE_KEY}).*$", "${1}[contents]"),
)

# Commands: what they write to files or hand to an interpreter without a file of its own.

_START = r"(?:^|[^A-Za-z0-9_.-]|\\[nrt])"
_OPTIONS = r"""(?:[ \t]+(?:-[XW][ \t]+[^\s"'\\|;&]+|-[^\s"'\\|;&]*))*?[ \t]+"""
_INLINE = (
    rf"(?:python[0-9.]*|pypy[0-9.]*|ipython[0-9.]*){_OPTIONS}-[A-Za-z]*c",
    rf"(?:node|nodejs|deno|bun|tsx|ts-node|perl|ruby|Rscript|julia|lua[0-9.]*|osascript|elixir|groovy)"
    rf"{_OPTIONS}(?:-[A-Za-z0-9]*[eE]|-p|--eval|--print|eval)=?",
    rf"php{_OPTIONS}-r",
    rf"sed{_OPTIONS}(?:-[A-Za-z]*i|--in-place)[^\s\"'\\|;&]*",
    r"(?:Set|Add)-Content",
)
_TO_A_FILE = (
    # To a file, not to another stream; of a group; to a program that reads a file; or cut off.
    r"(?:^|[^&<>=0-9-]|[^\s0-9][0-9]|\s1|&)>{1,2}\|?[ \t]*"
    r"(?:[^&\s/=]|/[^d]|/d[^e]|/de[^v]|/dev/[^n])"
    r"|[)}]\s*\|[^|]|<\(|(?:…|\\+u2026)\["
)


def _no_literals(double: str, escaped: str, rest: str) -> tuple[_Cut, ...]:
    """Cuts for commands. RE2 of a string in double quotes, of a character that the shell is kept
    from reading, and of all that is left."""
    single = rf"""\$'(?:[^'"\\]|{escaped})*'?|'(?:[^'"\\]|\\.)*'?"""
    plain = r"""[^'"\\|;&<>()\n\s]"""
    word = rf"(?:{single}|{double}|{escaped}|{plain})"
    some = rf"[ \t]*{word}(?:{word}|[ \t])*"
    delimiter = r"""(?:\\*['"][^'"\\\n]{1,80}\\*['"]|\\*[A-Za-z_][A-Za-z0-9_.-]*)"""
    say = rf"{_START}(?:echo|printf)\b"
    return (
        _Cut(rf"(?s)(<<-?[ \t]*{delimiter})({rest}?){_NEWLINE}{rest}", "${1}${2} [contents]"),
        _Cut(rf"(<<<){some}", "${1} [contents] "),
        _Cut(rf"({_START}(?:{'|'.join(_INLINE)})){some}", "${1} [contents] "),
        _Cut(rf"({say}){some}(\|[^|])", "${1} [contents] ${2}"),
        _Cut(rf"({say}){some}", "${1} [contents] ", where=_TO_A_FILE),
        _Cut(
            rf"({say}(?: \[contents\])?[ \t]*>{{1,2}}\|?[ \t]*{word}+)[ \t]{some}",
            "${1} [contents] ",
        ),
    )


_NO_LITERALS_IN_JSON = _no_literals(
    # Three backslashes where one string stands in another.
    r'\\{3}"(?:[^"\\]|\\.)*?\\{3}"|\\"(?:[^"\\]|\\[^"\\]|\\\\(?:\\.|[^"\\]))*(?:\\")?',
    r'\\\\(?:\\.|[^"\\])|\\[^"\\nr]',
    _IN_JSON,
)
_NO_LITERALS = _no_literals(r'"(?:[^"\\]|\\.)*"?', r"(?s:\\.)", r"(?s:.)*")

# Texts: blocks of code and diffs. What has no end goes on to the end.

_MARGIN = r"[ \t>]*"
_DIFF = r"(?:diff --git |@@ -[0-9]|\*\*\* Begin Patch)"
_NO_CODE = (
    # The longest fence first: the others may stand in it.
    *(
        _Cut(
            rf"(?s){fence}[^`\n\\]*{_NEWLINE}"
            rf".*?(?:{_NEWLINE}{_MARGIN}{fence}[ \t]*({_NEWLINE}|$)|$)",
            "[code]${1}",
        )
        for fence in ("`{6,}", "`{5}", "`{4}", "`{3}")
    ),
    _Cut(r"(?s)```.*?(?:```|$)", "[code]"),
    *(
        _Cut(
            rf"(?s)((?:^|{_NEWLINE})[ \t>*+.)0-9-]*){fence}[^~\n\\]*{_NEWLINE}"
            rf".*?(?:{_NEWLINE}{_MARGIN}{fence}[ \t]*({_NEWLINE}|$)|$)",
            "${1}[code]${2}",
            where="~~~",
        )
        for fence in ("~{6,}", "~{5}", "~{4}", "~{3}")
    ),
    _Cut(
        rf"(?s)(^|['\"]|{_NEWLINE}){_MARGIN}(?:{_DIFF}|--- [^\n\\]+{_NEWLINE}{_MARGIN}\+\+\+ ).*$",
        "${1}[diff]",
    ),
)
_NO_CODE_IN_JSON = (
    _Cut(rf"```{_IN_JSON}", "[code]"),
    _Cut(rf"""({_NEWLINE}|["']){_MARGIN}(?:~~~|{_DIFF}){_IN_JSON}""", "${1}[code]"),
)
_NO_MATCH = (
    # What was to be replaced and was not found, in the words of the client.
    _Cut(rf"(?s)((?:^|{_NEWLINE})String: ).*$", "${1}[contents]"),
)

_INPUT = (*_NO_CONTENTS, *_NO_LITERALS_IN_JSON, *_NO_CODE_IN_JSON)
_OTHER_INPUT = (*_NO_CONTENTS_ELSEWHERE, *_NO_LITERALS, *_NO_CODE)
_ERROR = (*_NO_MATCH, *_NO_CODE, *_NO_CONTENTS, *_NO_LITERALS)


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


def gather(settings: Settings) -> list[str]:
    """Statements that put what older clients name otherwise where newer ones have it."""
    if "prompt" not in {each.name for each in rules.content(settings.content)}:
        return []
    prompt, twin = ottl.attribute("log", "prompt"), ottl.attribute("log", "prompt_text")
    return [f"set({prompt}, {twin}) where {prompt} == nil and {twin} != nil"]


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
        # What it names besides files that are included: no statement can say "none but these".
        included = rf"{_FILE}\s*\\*(?:{_IN_PATH})?{_paths(code.include_only)}"
        others = 'log.cache["others"]'
        statements += [
            f'set({others}, log.cache["texts"])',
            ottl.replace(others, included, ""),
        ]
        unwanted.append(_matches(others, _FILE))
    for condition in unwanted:
        statements += [f'delete_key(log.attributes, "{name}") where {condition}' for name in kept]
    for name in kept:
        statements += _without_code(name, spare_files=bool(code.include_only))
    return statements


def _without_code(name: str, *, spare_files: bool) -> list[str]:
    """Statements that take code out of a text. Spared are inputs that name a file: by then only
    those are left whose files may be kept."""
    value = ottl.attribute("log", name)

    def replaced(cuts: Iterable[_Cut], *conditions: str) -> list[str]:
        return [
            " and ".join(
                (
                    ottl.replace(value, cut.regex, cut.shown),
                    *conditions,
                    *([_matches(value, cut.where)] if cut.where else []),
                )
            )
            for cut in cuts
        ]

    if not name.startswith("tool_"):
        return replaced(_ERROR if name == "error.message" else _NO_CODE)
    json = _matches(value, _IS_JSON)
    spared = [f"not {_matches(value, _FILE)}"] if spare_files else []
    return [
        *([] if spare_files else replaced(_NO_OTHER_FIELDS)),
        *replaced(_INPUT, json, *spared),
        *replaced(_OTHER_INPUT, f"not {json}", *spared),
    ]


def _matches(value: str, regex: str) -> str:
    return f"IsMatch({value}, {ottl.literal(regex)})"


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
