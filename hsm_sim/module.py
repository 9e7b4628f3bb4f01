"""The gateway's side of its security module: what it can be asked.

Keys are made inside the module and never leave it: the interface gives public keys, signatures,
shared secrets and random numbers (HSM-01). Every call is one or two APDUs through the secure
channel, which is renewed after 48 h at the latest (TR-03116-3 chapter 10). The PIN lies beside the
module's directory in a file for the owner only.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from hsm_sim.apdu import Command, Ins, Status
from hsm_sim.card import EPHEMERAL, Card, LifeCycle
from hsm_sim.curves import (
    CURVE_BY_OID,
    CURVE_OIDS,
    DIGESTS,
    Curve,
    SecurityModuleError,
    curve_of,
    point_octets,
    public_key,
)
from hsm_sim.link import CardLink, Clock
from hsm_sim.log import ApduLog
from hsm_sim.memory import Memory
from hsm_sim.randomness import HmacDrbg, Randomness, SystemRandom
from smgw_emu.core.der import oid, oid_text, parse, tlv

_CHUNK = 256  # random octets per command


def _pin_file(directory: Path) -> Path:
    return directory.with_name(directory.name + ".pin")


def _randomness(memory: Memory, seed: str) -> Randomness:
    if not seed:
        return SystemRandom()
    # the number of power-ups keeps a seeded module from repeating itself after a restart
    memory.change_state(boots=memory.state.boots + 1)
    return HmacDrbg(f"smgw-emu TEST {seed} {memory.state.boots}".encode())


class SecurityModule:
    """A software security module in a directory; a new one is personalised on the spot.

    Args:
        directory: the module's memory; created if missing.
        seed: non-empty: reproducible random numbers and keys (never for secrets).
        strict: message keys and ephemeral pairs of CMS come from inside the module, and every TLS
            handshake shows the norm's commands in the log (figures F28, F30).
        clock: nanoseconds, for the 48 h of the secure channel.
        pin: default: the file beside the directory.

    Raises:
        SecurityModuleError: damaged, at the end of its life, or the PIN is refused.
    """

    def __init__(
        self,
        directory: Path,
        *,
        seed: str = "",
        strict: bool = False,
        clock: Clock = time.monotonic_ns,
        pin: str | None = None,
    ) -> None:
        self.strict = strict
        self.deterministic = bool(seed)
        self._memory = Memory(directory)
        self._card = Card(self._memory, _randomness(self._memory, seed))
        self._link = CardLink(self._card, _pin_file(directory), clock)
        self._public: dict[str, ec.EllipticCurvePublicKey] = {}
        if self._card.life_cycle is LifeCycle.MANUFACTURING:
            self._link.set_pin("".join(secrets.choice("0123456789") for _ in range(12)))
            self._link.ask(Command(0, Ins.ACTIVATE))
        if pin is None:
            self._link.read_pin()
        else:
            self._link.pin = pin

    def power_off(self) -> None:
        """Lose everything volatile: the secure channel, keys kept in RAM."""
        self._link.power_off()
        self._public.clear()

    # -- life cycle and PIN ------------------------------------------------------------------

    @property
    def log(self) -> ApduLog:
        """The command log."""
        return self._link.log

    @property
    def life_cycle(self) -> LifeCycle:
        """The present state of the module's life."""
        return self._card.life_cycle

    @property
    def pin_tries(self) -> int:
        """How many wrong PINs are left."""
        return self._link.pin_tries()

    def advance(self) -> LifeCycle:
        """Go one step on in the module's life (ACTIVATE)."""
        self._link.ask(Command(0, Ins.ACTIVATE))
        return self.life_cycle

    def change_pin(self, pin: str) -> None:
        """Set a new PIN.

        Raises:
            SecurityModuleError: not at least ten decimal digits.
        """
        self._link.set_pin(pin)

    def terminate(self) -> None:
        """End the module's life: all keys are wiped."""
        self._link.ask(Command(0, Ins.TERMINATE))
        self._public.clear()

    # -- keys --------------------------------------------------------------------------------

    def slots(self) -> list[str]:
        """Return the names of the key slots in use."""
        return self._names(2)

    def generate(self, slot: str, curve: Curve) -> ec.EllipticCurvePublicKey:
        """Make a key pair in an empty slot and return its public key.

        Raises:
            SecurityModuleError: the slot is in use or its name is not allowed.
        """
        data = tlv(0x84, slot.encode()) + oid(CURVE_OIDS[curve])
        answer = self._link.ask(Command(0, Ins.GENERATE_KEY_PAIR, 0x80, 0, data, 256), slot)
        return _public_key(answer)

    def public_key(self, slot: str) -> ec.EllipticCurvePublicKey:
        """Return the public key of a slot.

        Raises:
            SecurityModuleError: empty or damaged slot.
        """
        key = self._public.get(slot)
        if key is None:
            data = tlv(0x84, slot.encode())
            answer = self._link.ask(Command(0, Ins.GENERATE_KEY_PAIR, 0x81, 0, data, 256), slot)
            key = self._public[slot] = _public_key(answer)
        return key

    def delete(self, name: str) -> None:
        """Delete a key or a file.

        Raises:
            SecurityModuleError: there is none, or the life cycle forbids it.
        """
        self._link.ask(Command(0, Ins.DELETE, 0, 0, name.encode()), name)
        self._public.pop(name, None)
        self._link.forget_environment()

    # -- signatures --------------------------------------------------------------------------

    def sign_digest(self, slot: str, digest: bytes) -> bytes:
        """Return the DER signature over a digest of 32, 48 or 64 octets.

        Raises:
            SecurityModuleError: another digest length, or the slot is empty.
        """
        if len(digest) not in DIGESTS:
            raise SecurityModuleError(f"no digest of {len(digest)} octets")
        self._link.environment(0x41B6, 0x84, slot)
        return self._link.ask(
            Command(0, Ins.PERFORM_SECURITY_OPERATION, 0x9E, 0x9A, digest, 256), slot
        )

    def sign(self, slot: str, message: bytes) -> bytes:
        """Return the ECDSA signature (SHA-256) over ``message`` as DER ``ECDSA-Sig-Value``."""
        return self.sign_digest(slot, _sha256(message))

    def sign_plain(self, slot: str, message: bytes) -> bytes:
        """Return the ECDSA signature (SHA-256) as r||s (TR-03111 5.2.1, plain format)."""
        r, s = decode_dss_signature(self.sign(slot, message))
        size = (self.public_key(slot).curve.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def import_public_key(self, name: str, key: ec.EllipticCurvePublicKey) -> None:
        """Give the module a public key to verify with (GWA_WAN_SIG_PUB and the like)."""
        data = tlv(0x83, name.encode()) + oid(CURVE_OIDS[curve_of(key)])
        data += tlv(0x86, point_octets(key))
        self._link.ask(Command(0, Ins.PERFORM_SECURITY_OPERATION, 0x00, 0xAE, data), name)
        self._link.forget_environment()

    def verify(self, name: str, digest: bytes, signature: bytes) -> bool:
        """Tell whether a DER signature over a digest verifies with an imported public key.

        Raises:
            SecurityModuleError: no such key.
        """
        self._link.environment(0x81B6, 0x83, name)
        data = tlv(0x9A, digest) + tlv(0x9E, signature)
        command = Command(0, Ins.PERFORM_SECURITY_OPERATION, 0x00, 0xA8, data)
        status = self._link.transmit(command, name).status
        if status in {Status.OK, Status.FAILED}:
            return status == Status.OK
        raise self._link.refusal(command, name, status)

    # -- key agreement -----------------------------------------------------------------------

    def agree(self, slot: str, peer: ec.EllipticCurvePublicKey) -> bytes:
        """Return the x-coordinate of the shared point of a slot and a peer's key (ECKA).

        Raises:
            SecurityModuleError: empty slot, or one not meant for key agreement.
        """
        self._link.environment(0x41A6, 0x84, slot)
        data = tlv(0x7C, tlv(0x85, point_octets(peer)))
        template = _template(
            self._link.ask(Command(0, Ins.GENERAL_AUTHENTICATE, 0, 0, data, 256), slot)
        )
        return template[0x86]

    def agree_ephemeral(self, peer: ec.EllipticCurvePublicKey) -> tuple[bytes, bytes]:
        """Return (own ephemeral point, x-coordinate): the pair is drawn inside the module."""
        self._link.environment(0x41A6, 0x84, EPHEMERAL)
        data = tlv(0x7C, oid(CURVE_OIDS[curve_of(peer)]), tlv(0x85, point_octets(peer)))
        command = Command(0, Ins.GENERAL_AUTHENTICATE, 0, 0, data, 256)
        template = _template(self._link.ask(command, EPHEMERAL))
        return template[0x85], template[0x86]

    # -- random numbers, files, self-test ----------------------------------------------------

    def random(self, octets: int) -> bytes:
        """Return random octets."""
        out = b""
        while len(out) < octets:
            count = min(_CHUNK, octets - len(out))
            out += self._link.ask(Command(0, Ins.GET_CHALLENGE, expected=count))
        return out

    def files(self) -> list[str]:
        """Return the names of the files in the module."""
        return self._names(3)

    def write_file(self, name: str, data: bytes) -> None:
        """Store a file (a certificate, a trust anchor) in the module."""
        self._link.ask(Command(0, Ins.SELECT, 4, 0, name.encode()), name)
        self._link.ask(Command(0, Ins.UPDATE_BINARY, 0, 0, data), name)

    def read_file(self, name: str) -> bytes:
        """Return a file of the module.

        Raises:
            SecurityModuleError: there is none.
        """
        self._link.ask(Command(0, Ins.SELECT, 4, 0, name.encode()), name)
        return self._link.ask(Command(0, Ins.READ_BINARY, expected=65_536), name)

    def check(self, slots: tuple[str, ...]) -> None:
        """Sign and verify with each slot (part of the self-test).

        Raises:
            SecurityModuleError: a slot is empty, damaged or computes wrongly.
        """
        for slot in slots:
            probe = self.random(32)
            signature = self.sign(slot, probe)
            self.public_key(slot).verify(signature, probe, ec.ECDSA(hashes.SHA256()))

    def private_key_for_process(self, slot: str) -> bytes:
        """Return a key as PEM: only for platforms where the TLS key bridge does not work.

        No APDU does this; it reaches past the card. Who calls it logs it and shows it in the
        status (crypto.md 4.3, fallback profile).
        """
        return self._memory.key(slot).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def _names(self, which: int) -> list[str]:
        answer = self._link.ask(Command(0, Ins.GET_DATA, 0, which, expected=65_536))
        return [name for name in answer.decode().split(",") if name]


def _sha256(message: bytes) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(message)
    return digest.finalize()


def _template(data: bytes) -> dict[int, bytes]:
    return {child.tag: child.content for child in parse(data).children}


def _public_key(data: bytes) -> ec.EllipticCurvePublicKey:
    """Read 7F49 {06 curve, 86 point}."""
    objects = _template(b"\x30" + data[2:])
    return public_key(CURVE_BY_OID[oid_text(objects[0x06])], objects[0x86])


class _PlainSigner(Protocol):
    def sign_plain(self, slot: str, message: bytes) -> bytes: ...


class SlotSigner:
    """Signs readings with one slot (:class:`smgw_emu.core.signature.ReadingSigner`)."""

    def __init__(self, module: _PlainSigner, slot: str) -> None:
        self._module = module
        self._slot = slot

    def sign(self, message: bytes) -> bytes:
        """Return r||s over ``message``."""
        return self._module.sign_plain(self._slot, message)
