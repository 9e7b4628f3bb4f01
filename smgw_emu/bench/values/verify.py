"""Check the signatures of a list against the certificates ``smgw-info`` gives (docs/signatures.md).

A signature counts if one of the gateway's certificates made it: after a change of certificates
older values keep the signature of the older key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from smgw_emu.bench.values.bundle import Bundle, Row
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.status import bit
from smgw_emu.core.tariff import USE_CASES

_NOT_FOR_BILLING = bit(1)
_HALF = 32


@dataclass(slots=True)
class Verdict:
    """What became of the values of a list.

    Attributes:
        good: signed, and the signature fits.
        unsigned: repeated for a missing value, or of a use case without signatures.
        bad: the signature does not fit: the rows.
        missing: a signature should be there and is not: the rows.
        certificates: how many values each certificate index has signed.
        untrusted: certificate indexes the sub-CA beside them has not issued.
    """

    good: int = 0
    unsigned: int = 0
    bad: list[Row] = field(default_factory=list)
    missing: list[Row] = field(default_factory=list)
    certificates: dict[str, int] = field(default_factory=dict)
    untrusted: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.bad or self.missing or self.untrusted)


def verify(bundle: Bundle) -> Verdict:
    """Check every value of a bundle.

    Raises:
        ConfigError: a certificate cannot be read.
    """
    keys = _keys(bundle)
    verdict = Verdict(untrusted=[index for index, _, issued in keys if not issued])
    cls = USE_CASES.get(int(bundle.contract["taf-number"]))
    without = cls is not None and not cls.SIGNED
    for row in bundle.rows():
        signature = row.item["signature"]
        if not signature:
            if without or _repeated(row):
                verdict.unsigned += 1
            else:
                verdict.missing.append(row)
            continue
        index = _signer(row, signature, keys)
        if index is None:
            verdict.bad.append(row)
        else:
            verdict.good += 1
            verdict.certificates[index] = verdict.certificates.get(index, 0) + 1
    return verdict


def signed_octets(row: Row) -> bytes:
    """Return what the signature of a value covers, out of what the consumer sees."""
    item = row.item
    gateway, meter = row.words
    fields = (
        item["owner-number"], row.obis, item["target-time"], item["capture-time"],
        _plain_number(row.value, row.scaler), str(row.unit),
        f"{gateway & ~_NOT_FOR_BILLING:08x}{meter:08x}",
    )  # fmt: skip
    return ";".join(fields).encode()


def _plain_number(value: int, scaler: int) -> str:
    text = format(Decimal(value).scaleb(scaler), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _repeated(row: Row) -> bool:
    """A repeated value has bit 1 and an empty meter word (GW-N09); bit 1 alone is transparency."""
    gateway, meter = row.words
    return gateway & _NOT_FOR_BILLING != 0 and meter == 0


Keys = list[tuple[str, ec.EllipticCurvePublicKey, bool]]


def _keys(bundle: Bundle) -> Keys:
    """Return (index, key, issued by the sub-CA beside it) of each signature certificate."""
    keys: Keys = []
    for entry in bundle.info["certificates"]["wan"]:
        try:
            certificate = x509.load_der_x509_certificate(bytes.fromhex(entry["sig"]))
            authority = x509.load_der_x509_certificate(bytes.fromhex(entry["sub-ca"]))
            key = certificate.public_key()
        except ValueError as error:
            raise ConfigError(f"certificate {entry['cert-index']}: {error}") from error
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ConfigError(f"certificate {entry['cert-index']} has no EC key")
        try:
            certificate.verify_directly_issued_by(authority)
            issued = True
        except (InvalidSignature, ValueError, TypeError):
            issued = False
        keys.append((entry["cert-index"], key, issued))
    return keys


def _signer(row: Row, signature: str, keys: Keys) -> str | None:
    try:
        octets = bytes.fromhex(signature)
    except ValueError:
        return None
    if len(octets) != 2 * _HALF:
        return None
    r, s = (int.from_bytes(half, "big") for half in (octets[:_HALF], octets[_HALF:]))
    der, message = encode_dss_signature(r, s), signed_octets(row)
    for index, key, _ in reversed(keys):  # the newest one has signed most
        try:
            key.verify(der, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            continue
        return index
    return None
