"""What this software measures about itself: its hash, and the parts of the self-test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources

from firmware.flash import Flash
from hsm_sim.interface import KeyModule
from hsm_sim.slots import HAN_TLS, WAN_SIG_SEAL
from smgw_emu.core.device import Device
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import DeviceTime

_SOFTWARE = (
    "smgw_emu",
    "firmware",
    "lmn",
    "wan",
    "han",
    "secure_state",
    "hsm_sim",
    "hardware",
    "cls_proxy",
)
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


SEPARATION = "Netztrennung"


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """The parts of the self-test, and what they look at.

    Attributes:
        device, hsm: as everywhere.
        now: device time.
        flash: partitions.
        look: looks at the inactive partition.
        software: hash of this software at power-up.
        battery: whether the RTC's battery is good.
        network: what the probe between WAN and HAN found, "" if they are separated.
        ports: meter ports that are disturbed, by name.
    """

    device: Device
    hsm: KeyModule
    now: Callable[[], DeviceTime]
    flash: Flash
    look: Callable[[], None]
    software: str
    battery: Callable[[], bool]
    network: Callable[[], str]
    ports: Callable[[], list[str]]

    def parts(self) -> list[tuple[str, Callable[[], None]]]:
        """Return the parts by the name the device shows; each raises what is wrong."""
        return [
            ("Software", self._software),
            ("Datenbestand", self.device.store.check),
            ("Sicherheitsmodul", lambda: self.hsm.check((HAN_TLS, WAN_SIG_SEAL))),
            ("Zufallszahlen", self._randomness),
            ("Uhr", self._clock),
            ("Speicher", self._storage),
            (SEPARATION, lambda: _raise(self.network())),
            ("LMN", self._meters),
        ]

    def _software(self) -> None:
        _raise(self.flash.fault(self.flash.record().active))
        if software_hash() != self.software:
            raise SmgwError("Prüfsumme geändert")
        self.look()

    def _randomness(self) -> None:
        ones = sum(octet.bit_count() for octet in self.hsm.random(2500))
        if not 9654 < ones < 10346:  # monobit test of FIPS 140-1
            raise SmgwError(f"{ones} von 20000 Bits gesetzt")

    def _clock(self) -> None:
        if not self.battery():
            raise SmgwError("Batterie der Echtzeituhr erschöpft")
        limits, year = self.device.profile.time, self.now().datetime().year
        if not limits.first_year <= year <= limits.last_year:
            raise SmgwError(f"Jahr {year} liegt außerhalb des Kalenders")

    def _storage(self) -> None:
        for what, level in (
            ("Logbücher", self.device.storage.logs(self.now())),
            ("Messwerte", self.device.check_storage(self.now())),
        ):
            if level.critical:
                raise SmgwError(f"{what} {level.used_kib} von {level.limit_kib} KiB")

    def _meters(self) -> None:
        lost = self.ports()
        if lost:
            raise SmgwError(f"Anschluss {', '.join(lost)} gestört")


def _raise(found: str) -> None:
    if found:
        raise SmgwError(found)
