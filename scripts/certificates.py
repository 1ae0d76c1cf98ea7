"""Certificates of our own: the edge's CA, the client CA, and members' client certificates.

All of EC P-256, in PEM. Who holds the private keys: docs/MEMBERS.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
CLIENT_DAYS = 365
_BLOCK = re.compile(r"-----BEGIN ([A-Z ]+)-----\n.*?-----END \1-----\n?", re.DOTALL)
_EARLIER = timedelta(minutes=5)
"""A clock that is behind takes a certificate too."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, in PEM."""

    certificate: str
    key: str = field(repr=False)

    @property
    def text(self) -> str:
        """Both in one."""
        return self.certificate + self.key


def authority(name: str, *, below: int | None) -> Pair:
    """A CA of our own. `below`: how many CAs may follow beneath it; None says nothing of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _named(name)
    certificate = (
        _begun(subject, subject, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(_certificate_text(certificate), _key_text(key))


def client(issuer: Pair, member: str) -> Pair:
    """A client certificate for a member, good for a year."""
    key = ec.generate_private_key(ec.SECP256R1())
    above = x509.load_pem_x509_certificate(issuer.certificate.encode())
    signer = serialization.load_pem_private_key(issuer.key.encode(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    certificate = (
        _begun(_named(member), above.subject, key.public_key(), CLIENT_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    return Pair(_certificate_text(certificate), _key_text(key))


def pair(text: str) -> Pair:
    """A certificate and its key out of one text. Raises ValueError."""
    blocks = split(text)
    certificates = [each for each in blocks if "BEGIN CERTIFICATE" in each]
    keys = [each for each in blocks if "PRIVATE KEY" in each]
    if len(certificates) != 1 or len(keys) != 1:
        raise ValueError("no certificate with its key")
    return Pair(certificates[0], keys[0])


def split(text: str) -> tuple[str, ...]:
    """The blocks of a PEM text."""
    return tuple(match[0].rstrip("\n") + "\n" for match in _BLOCK.finditer(text))


def member(certificate: str) -> str:
    """Whose it is: empty for one of a CA."""
    read = x509.load_pem_x509_certificate(certificate.encode())
    if read.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
        return ""
    return str(read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def ends(certificate: str) -> datetime:
    """Until when it is good, UTC."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc


def begins(certificate: str) -> datetime:
    """From when on it is good, UTC."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_before_utc


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=days))
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate_text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_text(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
