"""Delivery notes of meters: ``smgw init --wired NOTE --wireless NOTE``.

A note is what ``smgw meter wired --note`` and ``smgw meter wireless --note`` write: ``[[meter]]``
tables with ``master_key``, and ``[[lmn]]`` tables. Stands in for an administrator who brings
profiles and keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hsm_sim.interface import KeyModule
from hsm_sim.slots import lmn_master_key
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.wan_profiles import LmnProfile
from smgw_emu.lab.config_text import inline
from smgw_emu.lab.plan import read_plan

MK_OCTETS = 16


@dataclass(frozen=True, slots=True)
class MeterNote:
    """Meters with their keys, and how to talk to them."""

    meters: tuple[tuple[Meter, bytes], ...] = ()
    lmn: tuple[LmnProfile, ...] = ()

    def __repr__(self) -> str:
        return f"MeterNote({len(self.meters)} meters)"

    def __add__(self, other: MeterNote) -> Self:
        return type(self)(self.meters + other.meters, self.lmn + other.lmn)

    def config_lines(self) -> list[str]:
        """Return the tables of ``config.toml``; keys are not among them."""
        lines: list[str] = []
        for meter, _ in self.meters:
            lines += ["", "[[meter]]", *_rows(meter, Meter(meter.id, obis=()))]
        for profile in self.lmn:
            lines += ["", "[[lmn]]", *_rows(profile, LmnProfile(profile.meter))]
        return lines

    def bring_keys(self, module: KeyModule) -> None:
        """Put the master keys into the security module."""
        for meter, key in self.meters:
            module.write_file(lmn_master_key(meter.id), key)


NO_METERS = MeterNote()


def _rows(record: Meter | LmnProfile, default: Meter | LmnProfile) -> list[str]:
    """Return the first field and those that are not as a new record has them."""
    rows = []
    for index, name in enumerate(record.__struct_fields__):
        value = getattr(record, name)
        if index == 0 or value != getattr(default, name):
            rows.append(f"{name} = {inline(value)}")
    return rows


def read_meter_notes(paths: Iterable[Path | None]) -> MeterNote:
    """Read notes into one.

    Raises:
        ConfigError: names the table and the reason.
    """
    note = MeterNote()
    for path in paths:
        if path is not None:
            note += _read(path)
    return note


def _read(path: Path) -> MeterNote:
    plan = read_plan(path, "", [])
    if not plan.meters:
        raise ConfigError(f"{path}: no [[meter]] in it")
    for meter, key in plan.meters:
        if len(key) != MK_OCTETS:
            raise ConfigError(
                f"{path}: meter {meter.id}: master_key of {MK_OCTETS} octets expected"
            )
    return MeterNote(tuple(plan.meters), tuple(plan.lmn))
