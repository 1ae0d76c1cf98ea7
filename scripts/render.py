"""`make render`: writes what is rendered from the settings and kept in git; `--check` compares."""

from __future__ import annotations

import sys
from pathlib import Path

from infra import client
from infra.host import bundle, cloud_init
from infra.host.names import Names
from infra.secrets import Secrets
from infra.services import services
from infra.settings import Settings
from scripts import docs
from stacks.embedded.processes import Layout, Program, Programs, files
from stacks.home import PROJECT, Home

GOLDEN = PROJECT / "tests" / "golden"
_SECRETS = Secrets(
    member="m-0123456789",
    admin_password="admin-password-of-a-test",
    ingest_password="ingest-password-of-a-test",
    member_password="member-password-of-a-test",
    pseudonym_key="pseudonym-key-of-a-test",
)


def rendered() -> dict[Path, str]:
    """Every file that is rendered with the default settings, by path."""
    settings = Settings()
    found = {
        PROJECT / ".claude" / "env-config" / name: text
        for name, text in client.templates(settings).items()
    }
    found |= _stacks(settings, GOLDEN)
    with_prometheus = _stacks(Settings(backend="both"), GOLDEN / "prometheus")
    default = set(found.values())
    found |= {path: text for path, text in with_prometheus.items() if text not in default}
    plainly = _cloud(Settings.model_validate(_CLOUD), GOLDEN / "cloud")
    richly = _cloud(Settings.model_validate(_CLOUD_WITH_ALL), GOLDEN / "cloud-with-all")
    same = set(plainly.values())
    found |= {**plainly, **{path: text for path, text in richly.items() if text not in same}}
    return {**found, **docs.documents()}


_CLOUD = {
    "cloud": {"project": "my-project"},
    "edge": {"allowedRanges": ["203.0.113.0/24"]},
    "privacy": {"cohortFloor": 3},
}
_CLOUD_WITH_ALL = {
    **_CLOUD,
    "context": {"team": "book"},
    "edge": {
        "allowedRanges": ["0.0.0.0/0"],
        "domain": "telemetry.example.org",
        "acmeEmail": "operator@example.org",
        "clientCertificates": True,
    },
    "identity": {"oidcIssuer": "https://login.example.org", "oidcAudience": "telemetry"},
}


def _cloud(settings: Settings, folder: Path) -> dict[Path, str]:
    """What the machine of the `cloud` stack is given, but for what is copied as it is."""
    found = {
        folder / "bundle" / path: text
        for path, text in bundle.files(settings, "cloud").items()
        if not path.endswith((".sql", ".awk", "/runner.sh", "/limit.sh"))
        and path not in ("apply.sh", "watch.sh", "config/schema/views.tsv")
    }
    names = Names(stack="cloud", project=settings.cloud.project)
    found[folder / "user-data.yaml"] = cloud_init.user_data(settings, names)
    return found


def _stacks(settings: Settings, folder: Path) -> dict[Path, str]:
    """What both stacks render, below `folder`."""
    found = {}
    for service in services(settings, _SECRETS):
        for file in service.files:
            if file.path.startswith("/schema/") and not file.path.endswith(".tsv"):
                continue  # copied as they are
            if "/secrets/" in file.path:
                continue
            found[folder / "local" / service.name / file.path.lstrip("/")] = file.text
    layout = Layout(Home(Path("/home/member/.local/state/telemetry")))
    programs = Programs(
        collector=Program(
            path=Path("/opt/otelcol-telemetry"), version="0.161.0", origin="built", fingerprint="1"
        ),
        clickhouse=Program(
            path=Path("/opt/libchdb.so"), version="26.7.2.1", origin="libchdb", fingerprint="1"
        ),
        prometheus=Program(
            path=Path("/opt/prometheus"), version="2.42.0", origin="PATH", fingerprint="1"
        )
        if settings.own_prometheus
        else None,
        engine="libchdb",
        python=Path("/opt/venv/bin/python"),
    )
    for path, text in files(
        settings, _SECRETS, programs, layout, layout.socket(Path("/tmp"))
    ).items():
        found[folder / "embedded" / path.name] = text.replace(str(PROJECT), "/opt/clone")
    return found


def main() -> int:
    """Write what differs, or with --check only tell."""
    check = "--check" in sys.argv[1:]
    stale = []
    for path, text in rendered().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.relative_to(PROJECT))
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"{'differs' if check else 'wrote'}: {name}")
    if check and stale:
        print("Run `make render` and read the difference before you commit it.")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
