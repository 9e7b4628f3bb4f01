"""What the gateway asks of a security module, whichever one it is."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from hsm_sim.curves import Curve
from hsm_sim.link import Clock
from hsm_sim.log import ApduLog
from hsm_sim.module import SecurityModule
from smgw_emu.core.config import SecurityModule as Settings


class KeyModule(Protocol):
    """A security module: keys are made inside and stay there (HSM-01)."""

    strict: bool
    deterministic: bool

    @property
    def log(self) -> ApduLog:
        """The command log."""

    @property
    def life_cycle(self) -> str:
        """State of its life."""

    def power_off(self) -> None:
        """Lose everything volatile; the next use begins anew."""

    def slots(self) -> list[str]:
        """Return the names of the key slots in use."""

    def files(self) -> list[str]:
        """Return the names of the files (certificates, public keys)."""

    def generate(self, slot: str, curve: Curve) -> ec.EllipticCurvePublicKey:
        """Make a key pair in an empty slot."""

    def public_key(self, slot: str) -> ec.EllipticCurvePublicKey:
        """Return the public key of a slot."""

    def delete(self, name: str) -> None:
        """Delete a key or a file."""

    def sign_digest(self, slot: str, digest: bytes) -> bytes:
        """Return the DER signature over a digest."""

    def sign_plain(self, slot: str, message: bytes) -> bytes:
        """Return r||s over the SHA-256 of a message."""

    def agree(self, slot: str, peer: ec.EllipticCurvePublicKey) -> bytes:
        """Return the x-coordinate of the shared point."""

    def agree_ephemeral(self, peer: ec.EllipticCurvePublicKey) -> tuple[bytes, bytes]:
        """Return (own ephemeral point, x-coordinate)."""

    def import_public_key(self, name: str, key: ec.EllipticCurvePublicKey) -> None:
        """Give the module a public key to verify with."""

    def verify(self, name: str, digest: bytes, signature: bytes) -> bool:
        """Tell whether a DER signature verifies with an imported public key."""

    def random(self, octets: int) -> bytes:
        """Return random octets."""

    def write_file(self, name: str, data: bytes) -> None:
        """Store a file."""

    def read_file(self, name: str) -> bytes:
        """Return a file."""

    def check(self, slots: tuple[str, ...]) -> None:
        """Sign and verify with each slot."""

    def private_key_for_process(self, slot: str) -> bytes:
        """Return a key as PEM where the TLS key bridge does not work."""


def open_module(settings: Settings, home: Path, clock: Clock | None = None) -> KeyModule:
    """Open the security module of the gateway in ``home``.

    Raises:
        SecurityModuleError: the module refuses.
    """
    directory = home / "hsm"
    if settings.kind == "pkcs11":
        from hsm_sim.token import TokenModule

        return TokenModule(
            settings.library, settings.token, home / "hsm.pin", directory, strict=settings.strict
        )
    if clock is None:
        return SecurityModule(directory, seed=settings.seed, strict=settings.strict)
    return SecurityModule(directory, seed=settings.seed, strict=settings.strict, clock=clock)
