"""``smgw init --wired NOTE``: a gateway that knows the wired meters of a delivery note.

The note is what ``smgw meter wired --note`` writes: ``[[meter]]`` tables with ``master_key``, and
``[[lmn]]`` tables. Stands in for an administrator who brings profiles and keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hsm_sim.interface import KeyModule
from hsm_sim.slots import lmn_master_key
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.wan_profiles import LmnProfile
from smgw_emu.lab.config_text import inline
from smgw_emu.lab.plan import read_plan

MK_OCTETS = 16


@dataclass(frozen=True, slots=True)
class WiredNote:
    """Meters with their keys, and how to talk to them."""

    meters: tuple[tuple[Meter, bytes], ...]
    lmn: tuple[LmnProfile, ...]

    def __repr__(self) -> str:
        return f"WiredNote({len(self.meters)} meters)"

    def config_lines(self) -> list[str]:
        """Return the tables of ``config.toml``; keys are not among them."""
        lines: list[str] = []
        for meter, _ in self.meters:
            codes = inline(meter.obis)
            lines += ["", "[[meter]]", f'id = "{meter.id}"', f"obis = {codes}"]
        for profile in self.lmn:
            lines += [
                "",
                "[[lmn]]",
                f'meter = "{profile.meter}"',
                f'scenario = "{profile.scenario}"',
                f'protection = "{profile.protection}"',
                f"interval_s = {profile.interval_s}",
            ]
            lines += [f'server_id = "{profile.server_id}"'] if profile.server_id else []
            lines += [f'quirk = "{profile.quirk}"'] if profile.quirk else []
        return lines

    def bring_keys(self, module: KeyModule) -> None:
        """Put the master keys into the security module."""
        for meter, key in self.meters:
            module.write_file(lmn_master_key(meter.id), key)


def read_wired_note(path: Path) -> WiredNote:
    """Read a note.

    Raises:
        ConfigError: names the table and the reason.
    """
    plan = read_plan(path, "", [])
    if not plan.meters:
        raise ConfigError(f"{path}: no [[meter]] in it")
    for meter, key in plan.meters:
        if len(key) != MK_OCTETS:
            raise ConfigError(
                f"{path}: meter {meter.id}: master_key of {MK_OCTETS} octets expected"
            )
    return WiredNote(tuple(plan.meters), tuple(plan.lmn))
