"""Random numbers of the module: the system's generator, or a seeded one for reproducible runs.

The seeded generator is HMAC_DRBG with SHA-256 (NIST SP 800-90A 10.1.2) without reseeding. A run
with a seed repeats octet by octet; its keys are no secret, which the gateway's status says.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from hsm_sim.curves import CURVES, ORDERS, Curve


class Randomness(Protocol):
    """A source of random octets."""

    deterministic: bool

    def octets(self, count: int) -> bytes:
        """Return ``count`` random octets."""


class SystemRandom:
    """The operating system's generator."""

    deterministic = False

    def octets(self, count: int) -> bytes:
        """Return random octets."""
        return secrets.token_bytes(count)


class HmacDrbg:
    """HMAC_DRBG with SHA-256.

    Args:
        seed: entropy input, nonce and personalisation string, joined (SP 800-90A 10.1.2.3).
    """

    deterministic = True

    def __init__(self, seed: bytes) -> None:
        self._key = bytes(32)
        self._value = b"\x01" * 32
        self._update(seed)

    def octets(self, count: int) -> bytes:
        """Return the next octets (SP 800-90A 10.1.2.5 without additional input)."""
        out = b""
        while len(out) < count:
            self._value = hmac.digest(self._key, self._value, hashlib.sha256)
            out += self._value
        self._update(b"")
        return out[:count]

    def _update(self, data: bytes) -> None:
        for marker in (b"\x00", b"\x01") if data else (b"\x00",):
            self._key = hmac.digest(self._key, self._value + marker + data, hashlib.sha256)
            self._value = hmac.digest(self._key, self._value, hashlib.sha256)


def new_key(randomness: Randomness, curve: Curve) -> ec.EllipticCurvePrivateKey:
    """Make a private key; from the generator's octets if it is seeded."""
    if not randomness.deterministic:
        return ec.generate_private_key(CURVES[curve]())
    return ec.derive_private_key(scalar(randomness, curve), CURVES[curve]())


def scalar(randomness: Randomness, curve: Curve = Curve.BRAINPOOL_P256) -> int:
    """Return a number in 1 .. order-1 (FIPS 186-5 A.2.1: 64 extra bits)."""
    order = ORDERS[curve]
    octets = (order.bit_length() + 7) // 8 + 8
    return int.from_bytes(randomness.octets(octets), "big") % (order - 1) + 1
