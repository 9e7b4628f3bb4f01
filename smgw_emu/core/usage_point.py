"""Evaluation profiles: one usage point of one consumer, typed and immutable (TR-03109-1 v1.0 T39).

Which parameters a use case takes stands in its module in :mod:`smgw_emu.core.tariff`; the matrix is
tr-03109-1.md 8.15. Energies, powers and quotas are whole numbers in the unit of the register
(Wh, W, m3); times of day are legal local time.
"""

from __future__ import annotations

import re
from datetime import date, time
from functools import lru_cache
from typing import Literal

import msgspec

from smgw_emu.core.instants import DeviceTime, parse_device_time
from smgw_emu.core.obis import Obis
from smgw_emu.core.wan_profiles import need

MONTH_S = 2_678_400  # a registration period of 31 days stands for the calendar month
DAY_S = 86_400
_PERIOD = re.compile(r"([1-9][0-9]?)([MD])", re.ASCII)
_BILLING_MONTHS = (1, 2, 3, 6, 12)  # what the transparency software takes (han-m2m.md 11)
_BILLING_DAYS = 31  # own choice: longer ones are months
_CLOCK = re.compile(r"[0-2][0-9]:[0-5][0-9](?::[0-5][0-9])?", re.ASCII)


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tariff, load or consumption stage.

    ``number`` is group E of its registers unless ``obis`` names another register (one measurand
    only). ``threshold``: the mean or present power above which the stage is active (TAF3).
    ``quota``: quantity used in the billing period at which it ends, 0 for the last stage (TAF4).
    """

    number: int
    obis: str = ""
    description: str = ""
    threshold: int = 0
    quota: int = 0


class Switch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A switching time of a day: ``at`` ("06:00" or "06:00:30"), and the stage from then on."""

    at: str
    stage: int

    @property
    def clock(self) -> time:
        """The time of day."""
        return parse_clock(self.at)


class DayProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The switching times of one kind of day; the first one is 00:00."""

    id: int
    switches: tuple[Switch, ...]


class SpecialDay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A date (YYYY-MM-DD; 0000-MM-DD for each year) that has the day profile ``day``."""

    date: str
    day: int


class Trigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event that makes a grid-state contract send or a series capture (TR 4.2.4.1).

    ``above``/``below``: the register crosses ``limit`` in that direction. ``status``: one of the
    bits of ``mask`` (8 hex digits, printed order) appears in the meter's status.
    """

    kind: Literal["above", "below", "status"]
    obis: str = ""
    limit: int = 0
    mask: str = ""


class Prepaid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TAF12: available energy, from when; notification threshold; tolerance; breaker devices."""

    energy: int
    start: str
    threshold: int = 0
    tolerance_s: int = 0
    breakers: tuple[str, ...] = ()


class UsagePoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A contract: one evaluation profile of one consumer.

    Attributes:
        name: unique in the gateway (T39 Bezeichner).
        taf: the use case.
        consumer: login of the consumer.
        meters: ids of the meters whose readings are added.
        subtract: ids out of ``meters`` whose readings are subtracted.
        obis: registers; empty: all energy registers the meters have.
        start, end: validity; an empty end is open.
        metering_point: designation of the metering point.
        emts: WAN communication profiles of market participants (``emt1.sm`` is ``emt1``).
        capture_time: start of the billing calendar day for daily values; empty: 06:00 for gas,
            else 00:00 (TR-03109-1 v1.0 8).
        period_s: registration period; 86400 is the legal day, 2678400 the calendar month.
        billing_period: ``1M``, ``2M``, ``3M``, ``6M``, ``12M``, or days, ``1D`` to ``31D``.
        transparency: the transparency bit is shown.
        pseudonym: grid data, sent through the administrator without names (3.2.4.3).
        stages, first_stage: of TAF2 to 5; the stage at activation.
        day_profiles, week, special_days: TAF2; day profile ids Monday to Sunday.
        method, power: TAF3: by mean power of the period or by the power register's value.
        minima, maxima: TAF8.
        triggers: TAF9, 10, 14, 16.
        prepaid: TAF12.
        sources: names of the contracts whose lists TAF13 shows.
        change_list: the list of stage changes goes to the participants too, without readings.
    """

    name: str
    taf: int
    consumer: str
    meters: tuple[str, ...]
    start: str
    end: str = ""
    description: str = ""
    metering_point: str = "DE00000000000000000000TEST0000000"
    delivery_id: str = "emt1"
    emts: tuple[str, ...] = ("emt1.sm",)
    capture_time: str = ""
    period_s: int = 900
    on_demand: bool = True
    transparency: bool = False
    pseudonym: str = ""
    subtract: tuple[str, ...] = ()
    obis: tuple[str, ...] = ()
    billing_period: str = "1M"
    stages: tuple[Stage, ...] = ()
    first_stage: int = 0
    day_profiles: tuple[DayProfile, ...] = ()
    week: tuple[int, ...] = ()
    special_days: tuple[SpecialDay, ...] = ()
    method: Literal["mean", "present"] = "mean"
    power: str = ""
    minima: int = 0
    maxima: int = 0
    triggers: tuple[Trigger, ...] = ()
    prepaid: Prepaid | None = None
    sources: tuple[str, ...] = ()
    change_list: bool = False

    @property
    def logical_name(self) -> str:
        """``01005e3180<20+TAF>.<name>.sm`` (``wan.md`` 3.9: TAF1 = 21, TAF7 = 27)."""
        return f"01005e3180{0x20 + self.taf:02x}.{self.name}.sm"

    @property
    def keys(self) -> tuple[str, ...]:
        """The meters' ids in lower case."""
        return tuple(meter.lower() for meter in self.meters)

    @property
    def begin(self) -> DeviceTime:
        """Start of validity."""
        return _moment(self.start)

    @property
    def finish(self) -> DeviceTime | None:
        """End of validity, None for an open one."""
        return _moment(self.end) if self.end else None

    @property
    def registers(self) -> tuple[Obis, ...]:
        """The registers the profile names; empty for all."""
        return tuple(Obis.parse(text) for text in self.obis)

    @property
    def billing(self) -> tuple[int, str]:
        """Length of the billing period and its unit, ``M`` or ``D``.

        Raises:
            ConfigError: another form.
        """
        return parse_billing(self.billing_period)

    def valid_at(self, target: DeviceTime) -> bool:
        """Tell whether a registration at ``target`` belongs to the contract (both ends do)."""
        finish = self.finish
        return self.begin <= target and (finish is None or target <= finish)

    def state(self, now: DeviceTime) -> str:
        """Return ``ready``, ``running`` or ``archive`` (IF_GW_CON A-2.3)."""
        if now < self.begin:
            return "ready"
        finish = self.finish
        return "archive" if finish is not None and now >= finish else "running"


@lru_cache(maxsize=1024)
def _moment(text: str) -> DeviceTime:
    """Read a bound of the validity; every registration asks for it."""
    return parse_device_time(text)


def parse_clock(text: str) -> time:
    """Read a time of day.

    Raises:
        ConfigError: not ``hh:mm`` or ``hh:mm:ss``, or no such time.
    """
    need(_CLOCK.fullmatch(text) and text < "24", f"{text[:12]!r} is not a time of day (hh:mm:ss)")
    return time.fromisoformat(text)


def parse_billing(text: str) -> tuple[int, str]:
    """Read a billing period.

    Raises:
        ConfigError: not a number of months or days.
    """
    match = _PERIOD.fullmatch(text)
    count, unit = (int(match[1]), match[2]) if match else (0, "")
    need(
        count in _BILLING_MONTHS if unit == "M" else 1 <= count <= _BILLING_DAYS,
        f"billing_period {text[:12]!r} is none of 1M, 2M, 3M, 6M, 12M, 1D to 31D",
    )
    return count, unit


def parse_date(text: str) -> tuple[int, int, int]:
    """Read a special day; year 0 stands for each year.

    Raises:
        ConfigError: no such date.
    """
    yearly = text.startswith("0000-")
    try:
        # a leap year, so that 29 February exists
        day = date.fromisoformat(f"2024{text[4:]}" if yearly else text)
    except ValueError as error:
        need(False, f"special day {text[:12]!r}: {error}")
        raise
    return (0 if yearly else day.year), day.month, day.day
