"""A consumer's HAN key: self-signed certificate and PKCS#12 file."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from smgw_emu.bench.pki.participants import der
from smgw_emu.bench.pki.profile import mark


@dataclass(frozen=True, slots=True)
class ConsumerKey:
    """A consumer's HAN certificate (DER) and his PKCS#12 file."""

    certificate: bytes
    pkcs12: bytes


def issue_consumer_key(login: str, password: str, now: datetime | None = None) -> ConsumerKey:
    """Make a consumer's key pair, self-signed certificate and PKCS#12 file.

    The curve is secp384r1, the only one a CONEXA accepts in the HAN; the file uses the legacy
    encryption that the transparency software can read (``han-m2m.md`` 2.2): SHA-1 with 3DES.
    """
    start = now if now is not None else datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{login}.CON TEST")])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(secrets.token_bytes(8), "big") >> 1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=7 * 365))
        .add_extension(usage, critical=False)
        .add_extension(mark(), critical=False)
        .sign(key, hashes.SHA256())
    )
    legacy = pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC
    encryption = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(50_000)
        .key_cert_algorithm(legacy)
        .hmac_hash(hashes.SHA1())  # noqa: S303  # what the official client can read
        .build(password.encode())
    )
    data = pkcs12.serialize_key_and_certificates(login.encode(), key, certificate, None, encryption)
    return ConsumerKey(der(certificate), data)
