"""What this software measures about itself: its hash, and the parts of the self-test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import resources

from hsm_sim.interface import KeyModule
from hsm_sim.slots import HAN_TLS, WAN_SIG_SEAL
from smgw_emu.core.device import Device
from smgw_emu.core.errors import SmgwError

_SOFTWARE = ("smgw_emu", "lmn", "wan", "han", "secure_state", "hsm_sim", "hardware")
_SOFTWARE_FILES = (".py", ".toml", ".sql", ".html")


def software_hash() -> str:
    """Return the SHA-256 over all packages of this software (IF_GW_CON A-2.2), 64 hex digits."""
    total = hashlib.sha256()
    for package in _SOFTWARE:
        root = resources.files(package)
        with resources.as_file(root) as folder:
            for file in sorted(folder.rglob("*")):
                if file.suffix in _SOFTWARE_FILES and file.is_file():
                    name = file.relative_to(folder).as_posix()
                    content = hashlib.sha256(file.read_bytes()).hexdigest()
                    total.update(f"{package}/{name} {content}\n".encode())
    return total.hexdigest()


def self_test_parts(device: Device, hsm: KeyModule) -> list[tuple[str, Callable[[], None]]]:
    """Return the parts of the self-test by the name the device shows; each raises what is wrong."""

    def software() -> None:
        if software_hash() != device.firmware_hash:
            raise SmgwError("Prüfsumme geändert")

    def randomness() -> None:
        ones = sum(octet.bit_count() for octet in hsm.random(2500))
        if not 9654 < ones < 10346:  # monobit test of FIPS 140-1
            raise SmgwError(f"{ones} von 20000 Bits gesetzt")

    return [
        ("Software", software),
        ("Speicher", device.store.check),
        ("Sicherheitsmodul", lambda: hsm.check((HAN_TLS, WAN_SIG_SEAL))),
        ("Zufallszahlen", randomness),
    ]
