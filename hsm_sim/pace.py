"""PACE with generic mapping: id-PACE-ECDH-GM-AES-CBC-CMAC-128 on brainpoolP256r1.

Theory of operation (TR-03110-3 B.1, TR-03116-3 chapter 10). Both sides know the PIN, at least ten
decimal digits. K_pi = KDF(PIN, 3).

1. The module draws a nonce s and sends z = AES-CBC(K_pi, s). The gateway decrypts it.
2. Both send a mapping key; with the shared point H the generator becomes G' = s*G + H.
3. Both send an ephemeral key on G'; the x-coordinate of the shared point K is the secret.
   KSenc = KDF(x, 1), KSmac = KDF(x, 2).
4. Both send a token, CMAC-8 with KSmac over ``7F49 {06 OID, 86 the other side's key}``. Only here
   can a wrong PIN be seen: by the module first, which counts the failure.

KDF(K, c) = SHA-1(K || c as 32 bit), cut to 16 octets (TR-03110-3 A.2.3.2). The objects here hold
the arithmetic of one run; APDUs and the retry counter are the card's business.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from ecdsa.ellipticcurve import PointJacobi

from hsm_sim.curves import PACE_FIELD_OCTETS, pace_generator, pace_octets, pace_point
from hsm_sim.randomness import Randomness, scalar
from smgw_emu.core.der import oid, tlv
from smgw_emu.core.errors import RemoteProtocolError

OID = "0.4.0.127.0.7.2.2.4.2.2"  # id-PACE-ECDH-GM-AES-CBC-CMAC-128
MIN_PIN_DIGITS = 10  # TR-03116-3 table 28
NONCE_OCTETS = 16
_TOKEN_OCTETS = 8


def kdf(secret: bytes, counter: int) -> bytes:
    """Return 16 octets of key (TR-03110-3 A.2.3.2 for AES-128)."""
    material = secret + counter.to_bytes(4, "big")
    return hashlib.sha1(material, usedforsecurity=False).digest()[:16]


def pin_key(pin: str) -> bytes:
    """Return K_pi.

    Raises:
        RemoteProtocolError: not at least ten decimal digits.
    """
    if len(pin) < MIN_PIN_DIGITS or not (pin.isascii() and pin.isdigit()):
        raise RemoteProtocolError(f"a PACE PIN has at least {MIN_PIN_DIGITS} decimal digits")
    return kdf(pin.encode("ascii"), 3)


def encrypt_nonce(key: bytes, nonce: bytes) -> bytes:
    """Return z, one or more blocks in CBC with IV 0."""
    return Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor().update(nonce)


def decrypt_nonce(key: bytes, cryptogram: bytes) -> bytes:
    """Return s.

    Raises:
        RemoteProtocolError: not one block.
    """
    if len(cryptogram) != NONCE_OCTETS:
        raise RemoteProtocolError("the encrypted nonce is not 16 octets")
    return Cipher(algorithms.AES(key), modes.CBC(bytes(16))).decryptor().update(cryptogram)


class Exchange:
    """One side of one PACE run from step 2 on; the calls come in this order.

    Args:
        nonce: s.
        randomness: source of the two private keys.
    """

    __slots__ = ("_ephemeral", "_generator", "_mac_key", "_mapping", "_own", "_peer", "_secret",
                 "nonce")  # fmt: skip

    def __init__(self, nonce: bytes, randomness: Randomness) -> None:
        self.nonce = nonce
        self._mapping = scalar(randomness)
        self._ephemeral = scalar(randomness)
        self._generator: PointJacobi | None = None
        self._own = self._peer = self._secret = b""
        self._mac_key = b""

    def mapping_key(self) -> bytes:
        """Return the own mapping key (step 2)."""
        return pace_octets(pace_generator() * self._mapping)

    def map(self, peer_mapping_key: bytes) -> None:
        """Compute the mapped generator.

        Raises:
            RemoteProtocolError: the peer's key is no point, or leads to infinity.
        """
        shared = pace_point(peer_mapping_key) * self._mapping
        pace_octets(shared)
        mapped = pace_generator() * int.from_bytes(self.nonce, "big") + shared
        self._generator = pace_point(pace_octets(mapped))

    def ephemeral_key(self) -> bytes:
        """Return the own ephemeral key on the mapped generator (step 3)."""
        assert self._generator is not None
        self._own = pace_octets(self._generator * self._ephemeral)
        return self._own

    def agree(self, peer_ephemeral_key: bytes) -> tuple[bytes, bytes]:
        """Return (KSenc, KSmac).

        Raises:
            RemoteProtocolError: the peer's key is no point, or our own one sent back.
        """
        if peer_ephemeral_key == self._own:
            raise RemoteProtocolError("both ephemeral keys are the same")
        self._peer = peer_ephemeral_key
        point = pace_octets(pace_point(peer_ephemeral_key) * self._ephemeral)
        self._secret = point[1 : 1 + PACE_FIELD_OCTETS]
        self._mac_key = kdf(self._secret, 2)
        return kdf(self._secret, 1), self._mac_key

    def token(self) -> bytes:
        """Return the own token: over the peer's ephemeral key (step 4)."""
        return _token(self._mac_key, self._peer)

    def check_token(self, token: bytes) -> bool:
        """Tell whether the peer's token is right: it covers our ephemeral key."""
        return hmac.compare_digest(_token(self._mac_key, self._own), token)


def _token(key: bytes, point: bytes) -> bytes:
    mac = CMAC(algorithms.AES(key))
    content = oid(OID) + tlv(0x86, point)
    mac.update(b"\x7f\x49" + bytes((len(content),)) + content)
    return mac.finalize()[:_TOKEN_OCTETS]
