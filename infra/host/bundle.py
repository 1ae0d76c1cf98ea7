"""The rendered configuration as one text, which the bucket takes as an object.

A tar file, gzip'd, in base64: the same settings give the same text, so an `up` that changes nothing
writes nothing.
"""

from __future__ import annotations

import base64
import gzip
import io
import tarfile

from infra.settings import Settings


def files(settings: Settings, stack: str) -> dict[str, str]:
    """What is in it, by path within it."""
    return {"stack": f"{stack}\n"}


def bundle(settings: Settings, stack: str) -> str:
    """Text of the object. `stack`: such as `cloud`."""
    return packed(files(settings, stack))


def packed(found: dict[str, str]) -> str:
    """These files as text; nothing of when or where it was made is in it."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, text in sorted(found.items()):
            content = text.encode()
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    zipped = gzip.compress(archive.getvalue(), mtime=0)
    return base64.encodebytes(zipped).decode()
