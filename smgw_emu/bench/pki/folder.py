"""A hierarchy in a directory, for ``smgw pki`` and for gateways that live longer than a test.

``pki.json`` (hierarchy, begin, revocations), ``root``, ``crl-signer``, ``sub-ca`` and the firmware
``manufacturer`` as ``.pem`` and ``.key``; ``issued/<common
name>/<serial>/{tls,sig,enc}.{pem,key}``. Keys are for the owner only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hsm_sim import Purpose
from hsm_sim.files import write_private
from smgw_emu.bench.pki.authority import Hierarchy, TestPki
from smgw_emu.bench.pki.lists import Revoked
from smgw_emu.bench.pki.manufacturer import Manufacturer
from smgw_emu.bench.pki.participants import Identity, Participant, pem
from smgw_emu.core.errors import ConfigError
from wan.certificates import CertificateError, common_name, key_id, load

_AUTHORITIES = ("root", "crl-signer", "sub-ca", "manufacturer")


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    hierarchy: str
    begin: str
    revoked: list[tuple[str, str, bool]] = []


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the inventory (HSM-11)."""

    common_name: str
    purpose: str
    serial: str
    not_after: datetime
    revoked: bool

    def days_left(self, at: datetime) -> int:
        """Return whole days of validity left, negative once expired."""
        return (self.not_after - at).days


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def save(pki: TestPki, folder: Path) -> None:
    """Write a hierarchy into an existing or new directory.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        pairs = zip(
            _AUTHORITIES,
            (pki.root, pki.list_signer, pki.sub_ca, pki.manufacturer.certificate),
            (pki.root_key, pki.list_key, pki.sub_ca_key, pki.manufacturer.key),
            strict=True,
        )
        for name, certificate, key in pairs:
            (folder / f"{name}.pem").write_bytes(pem(certificate))
            write_private(folder / f"{name}.key", _key_pem(key))
        save_record(pki, folder)
    except OSError as error:
        raise ConfigError(f"cannot write {folder}: {error.strerror}") from error


def save_record(pki: TestPki, folder: Path) -> None:
    """Write what changes: the revocations."""
    revoked = [(f"{item.serial:x}", item.when.isoformat(), item.by_root) for item in pki.revoked]
    record = _Record(pki.hierarchy.value, pki.root.not_valid_before_utc.isoformat(), revoked)
    write_private(folder / "pki.json", msgspec.json.format(msgspec.json.encode(record)))


def open_folder(folder: Path, now: datetime | None = None) -> TestPki:
    """Read a hierarchy back; what it issues from now on begins at ``now`` (the present).

    Raises:
        ConfigError: none there, or damaged.
    """
    try:
        record = msgspec.json.decode((folder / "pki.json").read_bytes(), type=_Record)
        pki = TestPki.__new__(TestPki)
        pki.hierarchy = Hierarchy(record.hierarchy)
        pki.now = now or datetime.now(UTC)
        pki.revoked = [
            Revoked(int(serial, 16), datetime.fromisoformat(when), by_root)
            for serial, when, by_root in record.revoked
        ]
        certificates = [load((folder / f"{name}.pem").read_bytes()) for name in _AUTHORITIES]
        keys = [_load_key(folder / f"{name}.key") for name in _AUTHORITIES]
        pki.root, pki.list_signer, pki.sub_ca, maker = certificates
        pki.root_key, pki.list_key, pki.sub_ca_key, maker_key = keys
        pki.manufacturer = Manufacturer(maker, maker_key)
        pki.issued = {}
        for path in sorted(folder.glob("issued/*/*/*.pem")):
            certificate = load(path.read_bytes())
            pki.issued[key_id(certificate)] = certificate
    except FileNotFoundError as error:
        raise ConfigError(f"no PKI in {folder} (smgw pki init makes one)") from error
    except (OSError, ValueError, msgspec.MsgspecError, CertificateError) as error:
        raise ConfigError(f"the PKI in {folder} is damaged: {error}") from error
    return pki


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path.name} holds no EC key")  # noqa: TRY004  # read by open_folder
    return key


def open_manufacturer(folder: Path) -> Manufacturer:
    """Read the manufacturer of a hierarchy's folder.

    Raises:
        ConfigError: not there, or damaged.
    """
    try:
        certificate = load((folder / "manufacturer.pem").read_bytes())
        return Manufacturer(certificate, _load_key(folder / "manufacturer.key"))
    except (OSError, ValueError, CertificateError) as error:
        raise ConfigError(f"no manufacturer's key in {folder}: {error}") from error


def save_participant(folder: Path, participant: Participant) -> Path:
    """Write a triple; returns its directory.

    Raises:
        ConfigError: it cannot be written.
    """
    found = participant.tls.certificate.subject.get_attributes_for_oid(x509.NameOID.SERIAL_NUMBER)
    serial = str(found[0].value) if found else "1"
    place = folder / "issued" / participant.name / serial
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for purpose in Purpose:
            identity = participant.identity(purpose)
            (place / f"{purpose.lower()}.pem").write_bytes(identity.chain_pem)
            if identity.key is not None:
                write_private(place / f"{purpose.lower()}.key", identity.key_pem())
    except OSError as error:
        raise ConfigError(f"cannot write {place}: {error.strerror}") from error
    return place


def open_participant(place: Path) -> Participant:
    """Read a triple back, with the keys that lie there.

    Raises:
        ConfigError: incomplete or damaged.
    """
    try:
        identities = [_open_identity(place, purpose) for purpose in Purpose]
    except (OSError, ValueError, CertificateError) as error:
        raise ConfigError(f"cannot read the certificates in {place}: {error}") from error
    return Participant(common_name(identities[0].certificate), *identities)


def _open_identity(place: Path, purpose: Purpose) -> Identity:
    data = (place / f"{purpose.lower()}.pem").read_bytes()
    leaf, *chain = x509.load_pem_x509_certificates(data)
    path = place / f"{purpose.lower()}.key"
    return Identity(leaf, tuple(chain), _load_key(path) if path.exists() else None)


def inventory(pki: TestPki) -> list[Row]:
    """Return every end-entity certificate issued, soonest end first."""
    revoked = {item.serial for item in pki.revoked}
    rows = []
    for certificate in pki.issued.values():
        serial = certificate.subject.get_attributes_for_oid(x509.NameOID.SERIAL_NUMBER)
        rows.append(
            Row(
                common_name(certificate),
                purpose_of(certificate).value,
                str(serial[0].value) if serial else "",
                certificate.not_valid_after_utc.astimezone(UTC),
                certificate.serial_number in revoked,
            )
        )
    return sorted(rows, key=lambda row: (row.not_after, row.common_name, row.purpose))


def purpose_of(certificate: x509.Certificate) -> Purpose:
    """Return what an end entity's certificate is for."""
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    if usage.key_agreement:
        return Purpose.ENC
    try:
        certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return Purpose.SIG
    return Purpose.TLS
