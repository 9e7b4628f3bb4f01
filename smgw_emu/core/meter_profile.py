"""Meter profiles (TR-03109-1 v1.0 T38): which registers of a meter are held, and what it can do."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from smgw_emu.core.ids import DeviceId
from smgw_emu.core.obis import Obis
from smgw_emu.core.wan_profiles import need

_SERVER_ID = re.compile(r"(?:[0-9a-fA-F]{2}){6,14}", re.ASCII)  # meters without a DIN id
MAX_DIGITS = 18  # what 64 bit hold
MAX_FACTOR = 1_000_000  # own choice


class Meter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A meter profile: id, where its bytes come from, registers to hold.

    Attributes:
        scaler, unit: shown before the first value arrived.
        interval_s: the meter gives values at least this often (T38 Intervall).
        balancing: its registers may fall (T38 Saldierend).
        factor: of its transformers, for computed values (T38 Wandlerfaktoren).
        digits: decimal digits of its registers, at which they roll over; 0: they do not.
        word: which of the three meter words it has (``wan.md`` 5.4).
        wait_s: values for a target may arrive so long after it, in a compact profile of a wireless
            meter (Detailspezifikation v2.0 REQ.WMBUS.apl.10).
    """

    id: str
    source: str = ""
    obis: tuple[str, ...] = ("0100010800ff",)
    scaler: int = -1
    unit: int = 30
    interval_s: int = 1
    balancing: bool = False
    factor: int = 1
    digits: int = 0
    word: Literal["electricity", "gas", "wireless"] = "electricity"
    wait_s: int = 0

    @property
    def key(self) -> str:
        """The id in lower case, as used in logical names."""
        return self.id.lower()

    @property
    def channels(self) -> tuple[Obis, ...]:
        """The registers as OBIS codes."""
        return tuple(Obis.parse(text) for text in self.obis)


def check_meter(meter: Meter) -> None:
    """Check a meter profile.

    Raises:
        ConfigError, RemoteProtocolError: with the element and the reason.
    """
    where = f"meter {meter.id}"
    if not _SERVER_ID.fullmatch(meter.id):
        DeviceId.parse(meter.id)
    need(meter.channels, f"{where}: no register (obis)")
    for obis in meter.channels:
        need(
            obis.can_be_registered,
            f"{where}: {obis} is not an untariffed register (TR-03109-1 v1.0 4.3.2)",
        )
    need(len(set(meter.channels)) == len(meter.channels), f"{where}: a register is given twice")
    need(1 <= meter.interval_s <= 86_400, f"{where}: interval_s {meter.interval_s}: 1 to 86400")
    need(0 <= meter.wait_s <= 86_400, f"{where}: wait_s {meter.wait_s}: 0 to 86400")
    need(1 <= meter.factor <= MAX_FACTOR, f"{where}: factor {meter.factor}: 1 to {MAX_FACTOR}")
    need(
        meter.digits == 0 or 3 <= meter.digits <= MAX_DIGITS,
        f"{where}: digits {meter.digits}: 0, or 3 to {MAX_DIGITS}",
    )
