"""What a purge leaves behind: a signed file that says what was removed, and not whose it was.

Signed with Ed25519; the key is made at first use and stays among the secrets. Whoever is given a
file and the public key can check that it is as it was written.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from scripts.errors import Failure
from stacks.home import Home, write_private

_KEY = "evidence-key"


def _signer(home: Home) -> Ed25519PrivateKey:
    def made() -> str:
        raw = Ed25519PrivateKey.generate().private_bytes(
            Encoding.Raw, PrivateFormat.Raw, NoEncryption()
        )
        return base64.b64encode(raw).decode()

    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(home.secret(_KEY, made)))


def _signed(content: dict[str, Any]) -> bytes:
    """The bytes that are signed: JSON in one form."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def write(home: Home, name: str, content: dict[str, Any]) -> Path:
    """Sign and write it, with the public key beside it; where."""
    key = _signer(home)
    signature = base64.b64encode(key.sign(_signed(content))).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_private(home.evidence / "public-key.pem", public.decode())
    file = home.evidence / f"{name}.json"
    document = {"content": content, "algorithm": "Ed25519", "signature": signature}
    write_private(file, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return file


def verify(file: Path, public_key: Path) -> dict[str, Any]:
    """The content, if it is as it was signed. Raises Failure where it is not."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        content, signature = document["content"], base64.b64decode(document["signature"])
        key = load_pem_public_key(public_key.read_bytes())
        if not isinstance(content, dict) or not isinstance(key, Ed25519PublicKey):
            raise ValueError("not written by `telemetry purge`")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(f"{file} cannot be checked with {public_key}: {error}") from None
    try:
        key.verify(signature, _signed(content))
    except InvalidSignature:
        raise Failure(
            f"{file} is not as it was signed, or was signed with another key than {public_key}."
        ) from None
    return content
