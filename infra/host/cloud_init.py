"""cloud-init's user-data: what a new machine needs before it can fetch everything else.

Small and stable, because a change of it is a change of the machine; what changes from day to day is
in the bundle (infra/host/bundle.py). The machine runs Container-Optimized OS: Docker is there, its
system cannot be written to, and it updates itself; a weekly start puts an update in place, and a
changed user-data.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from infra.host.names import BUNDLE_OBJECT, Names
from infra.settings import Settings

FOLDER = "/etc/telemetry"
SCRIPTS = ("common.sh", "disk.sh", "network.sh", "fetch.sh", "updates.sh")
_SH = f"/bin/sh {FOLDER}"
_WATCH = "/run/telemetry/bundle/watch.sh"
_OWN_HASH = "@OWN_HASH@"
_HERE = Path(__file__).parent
_JOURNAL = "[Journal]\nSystemMaxUse=200M\nRuntimeMaxUse=50M\n"
_ONCE = "Type=oneshot\nRemainAfterExit=yes\n"
UNITS = {
    "telemetry-disk.service": "[Unit]\n"
    "Description=Telemetry: data disk\n"
    "\n"
    f"[Service]\n{_ONCE}ExecStart={_SH}/disk.sh\nTimeoutStartSec=600\n",
    "telemetry-network.service": "[Unit]\n"
    "Description=Telemetry: network of the containers\n"
    "Requires=docker.service\nAfter=docker.service\n"
    "\n"
    f"[Service]\n{_ONCE}ExecStart={_SH}/network.sh\n",
    "telemetry-fetch.service": "[Unit]\n"
    "Description=Telemetry: configuration and secrets\n"
    "Requires=telemetry-disk.service telemetry-network.service\n"
    "After=telemetry-disk.service telemetry-network.service network-online.target "
    "time-sync.target\n"
    "Wants=network-online.target\n"
    "\n"
    f"[Service]\nType=oneshot\nExecStart={_SH}/fetch.sh\n"
    # It fetches images too, and waits for ClickHouse.
    "TimeoutStartSec=1800\n",
    "telemetry-fetch.timer": "[Unit]\n"
    "Description=Telemetry: every 20 seconds\n"
    "\n"
    "[Timer]\nOnCalendar=*:*:0/20\nAccuracySec=1s\n",
    "telemetry-watch.service": "[Unit]\n"
    "Description=Telemetry: whether all is well\n"
    f"ConditionPathExists={_WATCH}\n"
    "\n"
    f"[Service]\nType=oneshot\nExecStart=/bin/sh {_WATCH}\nTimeoutStartSec=300\n",
    "telemetry-watch.timer": "[Unit]\n"
    "Description=Telemetry: every minute\n"
    "\n"
    # Between two rounds of telemetry-fetch.
    "[Timer]\nOnCalendar=*:*:10\nAccuracySec=1s\n",
    "telemetry-updates.service": "[Unit]\n"
    "Description=Telemetry: start again where that is waited for\n"
    "\n"
    f"[Service]\nType=oneshot\nExecStart={_SH}/updates.sh\n",
    "telemetry-updates.timer": "[Unit]\n"
    "Description=Telemetry: weekly window for updates\n"
    "\n"
    "[Timer]\nOnCalendar=Sun *-*-* 03:30:00 UTC\nRandomizedDelaySec=30min\n",
}


def environment(settings: Settings, names: Names) -> str:
    """host.env: where the machine finds what it fetches, and which user-data it has applied."""
    del settings  # of the settings nothing: they are in the bundle
    return (
        f"PROJECT={names.project}\nBUCKET={names.configuration_bucket}\nBUNDLE={BUNDLE_OBJECT}\n"
        f"USER_DATA={_OWN_HASH}\n"
    )


def user_data(settings: Settings, names: Names) -> str:
    """The value of the metadata key `user-data`. It knows its own SHA-256, taken without that."""
    text = _user_data(settings, names)
    return text.replace(_OWN_HASH, hashlib.sha256(text.encode()).hexdigest())


def _user_data(settings: Settings, names: Names) -> str:
    written = {
        f"{FOLDER}/host.env": environment(settings, names),
        **{f"{FOLDER}/{name}": (_HERE / name).read_text(encoding="utf-8") for name in SCRIPTS},
        "/etc/systemd/journald.conf.d/telemetry.conf": _JOURNAL,
        **{f"/etc/systemd/system/{name}": text for name, text in UNITS.items()},
    }
    started = " ".join(
        ("telemetry-disk.service", *(name for name in UNITS if name.endswith(".timer")))
    )
    content = {
        "write_files": [
            {"path": path, "owner": "root:root", "permissions": "0644", "content": text}
            for path, text in written.items()
        ],
        "runcmd": [
            "systemctl daemon-reload",
            "systemctl restart systemd-journald.service",
            f"systemctl start --no-block {started}",
        ],
    }
    return "#cloud-config\n" + yaml.dump(content, Dumper=_Literal, sort_keys=False, width=1000)


class _Literal(yaml.SafeDumper):
    """Writes texts of several lines as they are, so that a reviewer can read them."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Literal.add_representer(str, _text)
