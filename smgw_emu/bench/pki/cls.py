"""HAN certificates of controllable systems (TR-03109-1 v1.0 Annex C)."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hsm_sim.certificates import DEVICE_ID_OID
from smgw_emu.bench.pki.participants import Identity
from smgw_emu.bench.pki.profile import mark
from smgw_emu.core import der

_LIFE = timedelta(days=7 * 365)  # Annex C: 7 years of use


def issue_cls_key(
    name: str, now: datetime | None = None, curve: ec.EllipticCurve | None = None
) -> Identity:
    """Return a self-signed identity of a CLS, valid seven years.

    Args:
        name: its id, in SubjectAltName as the device identification of Annex C.
        now: begin of its validity.
        curve: default P-384, the only one at a CONEXA's HAN.
    """
    key = ec.generate_private_key(curve or ec.SECP384R1())
    begin = now if now is not None else datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name}.CLS TEST")])
    device = x509.OtherName(
        x509.ObjectIdentifier(DEVICE_ID_OID), der.octet_string(name.encode("ascii"))
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(secrets.token_bytes(8), "big") >> 1)
        .not_valid_before(begin)
        .not_valid_after(begin + _LIFE)
        .add_extension(x509.SubjectAlternativeName([device]), critical=False)
        .add_extension(mark(), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Identity(certificate, (), key)


def fingerprint(identity: Identity) -> str:
    """Return how a CLS profile names a certificate: SHA-256 in hex."""
    return hashlib.sha256(identity.certificate_der).hexdigest()
