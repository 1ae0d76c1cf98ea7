"""What Claude Code is told by its environment: one source for templates and `telemetry env`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from infra.collector import rules
from infra.settings import Settings

ENABLED_FILE = "telemetry-enabled.env"
DISABLED_FILE = "telemetry-disabled.env"

_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '",;\\%=')
"""What OTEL_RESOURCE_ATTRIBUTES takes as it is; everything else is percent-encoded."""


@dataclass(frozen=True)
class Variable:
    """One variable of the environment, and why it is set."""

    name: str
    value: str
    why: str


@dataclass(frozen=True, kw_only=True)
class WorkContext:
    """What the work is filed under; empty means unknown, and is then not sent."""

    team: str = ""
    chapter: str = ""
    git_branch: str = ""


@dataclass(frozen=True)
class Login:
    """Where a collector asks who sends: its address, and the HTTP header that says so."""

    endpoint: str
    authorization: str = field(repr=False)


def enabled(
    settings: Settings, context: WorkContext, login: Login | None = None
) -> tuple[Variable, ...]:
    """Variables that switch telemetry on, towards the collector on this machine. With a `login`
    they hold a secret."""
    switched_on = (
        Variable("CLAUDE_CODE_ENABLE_TELEMETRY", "1", "The main switch."),
        Variable("OTEL_LOGS_EXPORTER", "otlp", "Events: prompts, requests, tools, errors."),
        Variable("OTEL_METRICS_EXPORTER", "otlp", "Counters beside them."),
        Variable(
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "http/protobuf",
            "The client has no default: without it nothing is sent.",
        ),
        Variable(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            login.endpoint if login else f"http://127.0.0.1:{settings.ports.otlp_http}",
            "The collector on this machine.",
        ),
        *_authorization(login),
        Variable(
            "OTEL_LOGS_EXPORT_INTERVAL",
            "2000",
            "Milliseconds. A session that is killed loses what it has not sent yet.",
        ),
        Variable("OTEL_METRIC_EXPORT_INTERVAL", "10000", "Milliseconds."),
        Variable(
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "delta",
            "Each point counts by itself, so restarts do no harm.",
        ),
        Variable(
            "CLAUDE_CODE_OTEL_SHUTDOWN_TIMEOUT_MS",
            "500",
            "Milliseconds an exit waits for a collector that hangs or has no room.",
        ),
        Variable("OTEL_METRICS_INCLUDE_SESSION_ID", "true", "Without it, events have no session."),
        Variable("OTEL_METRICS_INCLUDE_VERSION", "true", "Which client version reported."),
        Variable("OTEL_METRICS_INCLUDE_ENTRYPOINT", "true", "Terminal, editor or SDK."),
        *_texts(settings.content),
    )
    attributes = resource_attributes(context)
    if not attributes:
        return switched_on
    return (
        *switched_on,
        Variable("OTEL_RESOURCE_ATTRIBUTES", attributes, "What the work is filed under."),
    )


def _authorization(login: Login | None) -> tuple[Variable, ...]:
    """As it is: the client does not decode it, and Base64 has no comma, which would cut it."""
    if login is None:
        return ()
    value = f"Authorization={login.authorization}"
    return (Variable("OTEL_EXPORTER_OTLP_HEADERS", value, "Who sends, on a shared machine."),)


def _texts(level: rules.Level) -> tuple[Variable, ...]:
    """What the client may send of texts: what the content level keeps, and no more."""
    kept = {each.name for each in rules.content(level)}

    def gate(name: str, why: str, *attributes: str) -> Variable:
        return Variable(name, "1" if kept.intersection(attributes) else "0", why)

    return (
        gate("OTEL_LOG_USER_PROMPTS", f"Texts at content level `{level}`: prompts,", "prompt"),
        gate("OTEL_LOG_ASSISTANT_RESPONSES", "answers,", "response"),
        gate("OTEL_LOG_TOOL_DETAILS", "commands, paths and arguments,", "tool_parameters"),
        gate("OTEL_LOG_TOOL_CONTENT", "what tools printed (never),"),
        gate("OTEL_LOG_RAW_API_BODIES", "and whole conversations (never)."),
    )


def disabled() -> tuple[Variable, ...]:
    """Variables that switch telemetry off, whatever was set before."""
    return (
        Variable("CLAUDE_CODE_ENABLE_TELEMETRY", "0", "The main switch."),
        # Client 2.0.1 reads a main switch of 0 as on, and does not start where `none` is named.
        Variable("OTEL_LOGS_EXPORTER", "", "No events."),
        Variable("OTEL_METRICS_EXPORTER", "", "No counters."),
    )


def resource_attributes(context: WorkContext) -> str:
    """OTEL_RESOURCE_ATTRIBUTES: key=value, comma between, values percent-encoded."""
    known: Mapping[str, str] = {
        "team": context.team,
        "chapter": context.chapter,
        "git.branch": context.git_branch,
    }
    return ",".join(
        f"{key}={quote(value, safe=_PRINTABLE)}" for key, value in known.items() if value
    )


def env_file(variables: Iterable[Variable], heading: str, *, remarks: str = "") -> str:
    """The text of a template: a comment and a `NAME=value` line each."""
    lines = [*(f"# {line}".rstrip() for line in heading.strip().splitlines()), ""]
    for variable in variables:
        lines += [f"# {variable.why}", f"{variable.name}={variable.value}"]
    if remarks:
        lines += ["", *(f"# {line}".rstrip() for line in remarks.strip().splitlines())]
    return "\n".join(lines) + "\n"


def templates(settings: Settings) -> dict[str, str]:
    """The files of .claude/env-config, by name."""
    example = WorkContext(team=settings.context.team, chapter="", git_branch="")
    return {
        ENABLED_FILE: env_file(
            enabled(settings, example),
            "Claude Code telemetry on, to the collector on this machine.\n"
            "\n"
            "`telemetry env` prints the same with your team, chapter and branch filled in;\n"
            "`telemetry run -- claude` starts Claude Code with it. By hand, in a shell:\n"
            f"  set -a; . .claude/env-config/{ENABLED_FILE}; set +a",
            remarks="What the work is filed under. Values without spaces; others percent-encoded.\n"
            "OTEL_RESOURCE_ATTRIBUTES=team=book,chapter=ch03,git.branch=main\n"
            "\n"
            "To look at what is sent without sending it, print it to the terminal instead:\n"
            "OTEL_LOGS_EXPORTER=console\n"
            "OTEL_METRICS_EXPORTER=console",
        ),
        DISABLED_FILE: env_file(
            disabled(),
            "Claude Code telemetry off: the default, for privacy.\n"
            "\n"
            f"  set -a; . .claude/env-config/{DISABLED_FILE}; set +a",
        ),
    }
