"""A software security module: key slots, signatures, random numbers.

Keys are made inside and never leave: the interface gives public keys and signatures only
(HSM-01). Slots live as PKCS#8 files readable by the owner alone, written so that a power cut
leaves either the old key or the new one.
"""

from __future__ import annotations

import re
import secrets
from enum import StrEnum
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
)

from hsm_sim.files import write_private
from smgw_emu.core.errors import SmgwError

_SLOT = re.compile(r"[A-Z][A-Z0-9_]{0,40}", re.ASCII)


class SecurityModuleError(SmgwError):
    """The module refused: no such slot, slot in use, or its memory is damaged."""


class Curve(StrEnum):
    """Curves of TR-03116-3 2.2 that this module makes keys on."""

    BRAINPOOL_P256 = "brainpoolP256r1"
    BRAINPOOL_P384 = "brainpoolP384r1"
    BRAINPOOL_P512 = "brainpoolP512r1"
    P256 = "secp256r1"
    P384 = "secp384r1"


_CURVES: dict[Curve, type[ec.EllipticCurve]] = {
    Curve.BRAINPOOL_P256: ec.BrainpoolP256R1,
    Curve.BRAINPOOL_P384: ec.BrainpoolP384R1,
    Curve.BRAINPOOL_P512: ec.BrainpoolP512R1,
    Curve.P256: ec.SECP256R1,
    Curve.P384: ec.SECP384R1,
}
_DIGESTS: dict[int, hashes.HashAlgorithm] = {
    32: hashes.SHA256(),
    48: hashes.SHA384(),
    64: hashes.SHA512(),
}

# Slot names follow the pattern the TR uses for certificates (GW_HAN_TLS_CRT); -private names are
# inferred (crypto.md 4.2). Index 0 is the Guetesiegel generation.
HAN_TLS = "GW_HAN_TLS_PRV"
WAN_SIG_SEAL = "GW_WAN_SIG_PRV_0"


class SecurityModule:
    """Key slots in a directory.

    Args:
        directory: the module's memory; created if missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.signatures = 0

    def generate(self, slot: str, curve: Curve) -> ec.EllipticCurvePublicKey:
        """Make a key pair in an empty slot and return its public key.

        Raises:
            SecurityModuleError: the slot is in use or its name is not allowed.
        """
        path = self._path(slot)
        if path.exists():
            raise SecurityModuleError(f"key slot {slot} is in use")
        key = ec.generate_private_key(_CURVES[curve]())
        data = key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_private(path, data)
        self._keys[slot] = key
        return key.public_key()

    def public_key(self, slot: str) -> ec.EllipticCurvePublicKey:
        """Return the public key of a slot.

        Raises:
            SecurityModuleError: empty or damaged slot.
        """
        return self._key(slot).public_key()

    def sign(self, slot: str, message: bytes) -> bytes:
        """Return the ECDSA signature (SHA-256) over ``message`` as DER ``ECDSA-Sig-Value``."""
        self.signatures += 1
        return self._key(slot).sign(message, ec.ECDSA(hashes.SHA256()))

    def sign_plain(self, slot: str, message: bytes) -> bytes:
        """Return the ECDSA signature (SHA-256) as r||s (TR-03111 5.2.1, plain format)."""
        key = self._key(slot)
        r, s = decode_dss_signature(self.sign(slot, message))
        size = (key.curve.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def sign_digest(self, slot: str, digest: bytes) -> bytes:
        """Return the DER signature over a digest of 32, 48 or 64 octets (TLS handshakes).

        Raises:
            SecurityModuleError: another digest length.
        """
        algorithm = _DIGESTS.get(len(digest))
        if algorithm is None:
            raise SecurityModuleError(f"no digest of {len(digest)} octets")
        self.signatures += 1
        return self._key(slot).sign(digest, ec.ECDSA(Prehashed(algorithm)))

    def private_key_for_process(self, slot: str) -> bytes:
        """Return a key as PEM: only for platforms where the TLS key bridge does not work.

        Who calls this logs it and shows it in the status (crypto.md 4.3, fallback profile).
        """
        return self._key(slot).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def random(self, octets: int) -> bytes:
        """Return random octets from the operating system's generator."""
        return secrets.token_bytes(octets)

    def check(self, slots: tuple[str, ...]) -> None:
        """Sign and verify with each slot (part of the self-test).

        Raises:
            SecurityModuleError: a slot is empty, damaged or computes wrongly.
        """
        for slot in slots:
            probe = self.random(32)
            signature = self.sign(slot, probe)
            self.public_key(slot).verify(signature, probe, ec.ECDSA(hashes.SHA256()))

    def _path(self, slot: str) -> Path:
        if not _SLOT.fullmatch(slot):
            raise SecurityModuleError(f"not a slot name: {slot[:40]!r}")
        return self._directory / f"{slot}.p8"

    def _key(self, slot: str) -> ec.EllipticCurvePrivateKey:
        key = self._keys.get(slot)
        if key is None:
            key = self._keys[slot] = self._load(slot)
        return key

    def _load(self, slot: str) -> ec.EllipticCurvePrivateKey:
        try:
            key = serialization.load_der_private_key(self._path(slot).read_bytes(), None)
        except FileNotFoundError as error:
            raise SecurityModuleError(f"key slot {slot} is empty") from error
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SecurityModuleError(f"key slot {slot} is damaged") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SecurityModuleError(f"key slot {slot} is damaged")
        return key


class SlotSigner:
    """Signs readings with one slot (:class:`smgw_emu.core.signature.ReadingSigner`)."""

    def __init__(self, module: SecurityModule, slot: str) -> None:
        self._module = module
        self._slot = slot

    def sign(self, message: bytes) -> bytes:
        """Return r||s over ``message``."""
        return self._module.sign_plain(self._slot, message)
