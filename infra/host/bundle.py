"""The rendered configuration as one text, which the bucket takes as an object.

A tar file, gzip'd, in base64: the same settings give the same text, so an `up` that changes nothing
writes nothing.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
from pathlib import Path

from infra import services
from infra.host import names, units
from infra.settings import Settings
from infra.warehouse import access

_HERE = Path(__file__).parent
MANIFEST = "MANIFEST"
"""SHA-256 of every other file, as `sha256sum -c` reads it."""


def files(settings: Settings, stack: str) -> dict[str, str]:
    """What is in it, by path within it."""
    known = names.Names(stack=stack, project=settings.cloud.project)
    found = {
        "apply.sh": _script("apply.sh"),
        "expand.awk": _script("expand.awk"),
        "watch.sh": _script("watch.sh"),
        "settings.sh": units.settings_sh(
            settings,
            secrets=_secrets(settings, known),
            alerts={what: known.alert(what) for what in names.ALERTS},
        ),
        "config/limit/limit.sh": _script("limit.sh"),
        **{f"units/{name}": text for name, text in units.units(settings).items()},
        **{f"users/{name}.xml": text for name, text in _templates().items()},
    }
    for service in services.cloud_services(settings):
        for file in service.files:
            found[_place(service, file.path)] = file.text
    return found


def bundle(settings: Settings, stack: str) -> str:
    """Text of the object. `stack`: such as `cloud`."""
    return packed(files(settings, stack))


def packed(found: dict[str, str]) -> str:
    """These files and their MANIFEST as text; nothing of when or where it was made is in it."""
    listed = "".join(
        f"{hashlib.sha256(text.encode()).hexdigest()}  {path}\n"
        for path, text in sorted(found.items())
    )
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, text in sorted({**found, MANIFEST: listed}.items()):
            content = text.encode()
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    zipped = gzip.compress(archive.getvalue(), mtime=0)
    return base64.encodebytes(zipped).decode()


def _script(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _secrets(settings: Settings, known: names.Names) -> dict[str, str]:
    """Secrets that the machine fetches, by the file that each becomes."""
    found = {names.KEYS: known.secret(names.KEYS)}
    for number, name in enumerate(known.members(settings.identity.lists), start=1):
        found[f"members-{number}"] = name
    if not settings.edge.acme:
        found[names.EDGE] = known.secret(names.EDGE)
    if settings.edge.client_certificates:
        found[names.CLIENTS] = known.secret(names.CLIENTS)
    return found


def _templates() -> dict[str, str]:
    """Of ClickHouse's users; expand.awk fills them in."""
    return access.templates(
        loopback_default=False,
        alone=False,
        networks=access.Networks(
            admin=(f"{services.ADDRESSES[services.SCHEMA]}/32", names.IAP_RANGE),
            ingest=(f"{services.ADDRESSES[services.COLLECTOR]}/32",),
        ),
    )


def _place(service: services.MachineService, path: str) -> str:
    """Where a container's file is in the bundle: where the machine keeps it, below `config`."""
    for mount in service.mounts:
        if path.startswith(f"{mount.container}/") and mount.machine.startswith(services.RUN):
            return mount.machine.removeprefix(f"{services.RUN}/") + path[len(mount.container) :]
    message = f"{path} lies in no folder that {service.name} is given"
    raise ValueError(message)
