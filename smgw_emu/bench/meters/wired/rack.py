"""Several virtual meters on one bus, and the delivery note that says how to pair with them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hsm_sim.files import write_private
from lmn.sym import PairingMemory
from smgw_emu.bench.bus.sim import BusSim, Faults
from smgw_emu.bench.meters.electricity import ElectricityMeter
from smgw_emu.bench.meters.keys import master_key
from smgw_emu.bench.meters.wired.catalog import CATALOG, DEFAULT_MODELS
from smgw_emu.bench.meters.wired.meter import WiredMeter
from smgw_emu.bench.meters.wired.registers import FATAL, MAGNETIC, MECHANICAL, MeterRegisters
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import WorldTime
from smgw_emu.core.obis import Obis
from smgw_emu.profiles import Profile

FIRST_NUMBER = 1


def make_meters(
    count: int,
    profile: Profile,
    now: WorldTime,
    *,
    models: tuple[str, ...] = DEFAULT_MODELS,
    seed: int = 1,
    registering: bool = False,
    solar: bool = False,
    tls_role: str = "server",
) -> list[WiredMeter]:
    """Return meters of the given models in turn, with ids and keys from the seed.

    Raises:
        ConfigError: no such model.
    """
    unknown = [name for name in models if name not in CATALOG]
    if unknown or not models:
        raise ConfigError(f"no meter model {', '.join(unknown)}; there are: {', '.join(CATALOG)}")
    meters = []
    for index in range(count):
        model = CATALOG[models[index % len(models)]]
        name = f"1{model.maker}00{seed % 100:02d}{FIRST_NUMBER + index:06d}"
        counters = ElectricityMeter(name, now, seed=seed + index, solar=solar)
        registers = MeterRegisters(model, counters, seed + index, registering=registering)
        meters.append(
            WiredMeter(registers, master_key(seed, name), profile, seed + index, tls_role=tls_role)
        )
    return meters


class Rack:
    """Meters on a simulated bus.

    Args:
        meters: who is on it.
        profile: its speed.
        now: its beginning.
        faults: of the line.
    """

    def __init__(
        self,
        meters: list[WiredMeter],
        profile: Profile,
        now: WorldTime,
        faults: Faults | None = None,
    ) -> None:
        self.meters = meters
        self.sim = BusSim(profile.lmn_bus.baud, now, faults)
        for meter in meters:
            self.sim.attach(meter)


def delivery_note(meters: list[WiredMeter], seed: int, path: Path) -> None:
    """Write ids and master keys as the tables of a commissioning plan (TEST keys).

    The file can be given to ``smgw gwa commission --plan`` and ``smgw init --wired``; like every
    file with keys it is for its owner only.
    """
    lines = ["# TEST meters of `smgw meter wired`: ids, registers and master keys.", ""]
    for meter in meters:
        model = meter.registers.model
        codes = ", ".join(f'"{obis.hex}"' for obis in _registrable(meter))
        lines += [
            "[[meter]]",
            f'id = "{meter.id}"',
            f"obis = [{codes}]",
            f'master_key = "{master_key(seed, str(meter.id)).hex()}"',
            "",
            "[[lmn]]",
            f'meter = "{meter.id}"',
            'scenario = "LKS1"',
            'protection = "TLS"',
            *([f'quirk = "{model.quirk}"'] if model.quirk else []),
            "",
        ]
    write_private(path, "\n".join(lines).encode())


def _registrable(meter: WiredMeter) -> list[Obis]:
    return [obis for obis in meter.registers.values(WorldTime(0)) if obis.can_be_registered]


def save_memory(meters: list[WiredMeter], path: Path) -> None:
    """Write what the meters must not forget (their EEPROM)."""
    state = {str(meter.id): meter.memory for meter in meters}
    write_private(path, msgspec.json.encode(state))


def load_memory(meters: list[WiredMeter], path: Path) -> None:
    """Read it back; a missing file is a rack of new meters.

    Raises:
        ConfigError: the file cannot be read.
    """
    if not path.exists():
        return
    try:
        state = msgspec.json.decode(path.read_bytes(), type=dict[str, PairingMemory])
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    for meter in meters:
        kept = state.get(str(meter.id))
        if kept is not None:
            for name in PairingMemory.__struct_fields__:
                setattr(meter.memory, name, getattr(kept, name))


_TAMPER = {"magnetic": MAGNETIC, "mechanical": MECHANICAL, "fatal": FATAL}


def command(rack: Rack, text: str, now: WorldTime) -> str:
    """Do what a line of text says to a meter of a rack; returns what was done.

    ``tamper METER magnetic|mechanical|fatal``, ``clear METER``, ``unplug METER``, ``plug METER``,
    ``off METER``, ``on METER``, ``silent METER on|off``. METER is an id, or its number from 1.

    Raises:
        ConfigError: no such command or meter.
    """
    words = text.split()
    verb, name, rest = words[0], "".join(words[1:2]), words[2:]
    meter = _named(rack, name)
    match (verb, *rest):
        case ("tamper", kind) if kind in _TAMPER:
            meter.registers.tamper(now, _TAMPER[kind])
        case ("clear",):
            meter.registers.clear(MAGNETIC | MECHANICAL | FATAL)
        case ("unplug",) | ("plug",):
            rack.sim.plug(meter, there=verb == "plug")
        case ("off",):
            meter.power_off()
        case ("on",):
            meter.power_on()
        case ("silent", ("on" | "off") as state):
            meter.faults.silent = state == "on"
        case _:
            raise ConfigError(
                f"{text!r}: tamper METER magnetic|mechanical|fatal, clear, unplug, plug, off, on,"
                " silent METER on|off"
            )
    return " ".join((verb, str(meter.id), *rest))


def _named(rack: Rack, name: str) -> WiredMeter:
    if name.isdecimal() and 1 <= int(name) <= len(rack.meters):
        return rack.meters[int(name) - 1]
    found = [meter for meter in rack.meters if meter.id.lower == name.lower()]
    if not found:
        raise ConfigError(f"no meter {name!r} on this bus")
    return found[0]
