"""The manufacturer's firmware key: whose packages a device installs (TEST).

Self-signed: the certificate is burnt into the device in production and is no part of the SM-PKI.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from smgw_emu.bench.pki import profile
from smgw_emu.bench.pki.participants import der
from wan.certificates import key_id
from wan.cms import Signer

_YEARS = 20  # own choice: longer than any device
_BEGIN = datetime(2020, 1, 1, tzinfo=UTC)  # before any virtual time


@dataclass(frozen=True, slots=True)
class Manufacturer:
    """Certificate and key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return "Manufacturer(TEST)"

    @property
    def certificate_der(self) -> bytes:
        """The certificate that is burnt in."""
        return der(self.certificate)

    def signer(self) -> Signer:
        """Return who signs packages."""
        prehashed = ec.ECDSA(Prehashed(hashes.SHA256()))
        return Signer(
            key_id(self.certificate),
            lambda digest: self.key.sign(digest, prehashed),
        )


def new_manufacturer() -> Manufacturer:
    """Make a key and its certificate."""
    key = ec.generate_private_key(ec.BrainpoolP256R1())
    subject = profile.name("TEST-EMU Firmware", "smgw-emu")
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN)
        .not_valid_after(_BEGIN + timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(profile.mark(), critical=False)
    )
    return Manufacturer(builder.sign(key, hashes.SHA256()), key)
