"""When the values of a telegram were measured (Detailspezifikation v2.0 10.4.2).

* Without a compact profile: the time of arrival minus the *actuality duration* DP1! (apl.12); which
  of both counts is a setting of the profile, as TR-03109-1 v1.0 4.3.5 stamps on arrival.
* With an inverse compact profile: the base is the present value, of arrival minus DP1!, and not for
  billing (apl.11). Each element is so many spacings older, and is what may be registered
  (apl.10); whether its time is near enough to a target is decided by the registration.
* An inverse compact profile without DP1! has no time in UTC, and a damaged one no meaning: they are
  not used, the other values are.

Times are given as ages: nanoseconds before arrival.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import msgspec

from lmn.mbus.obis import ObisMap, meter_value, registers
from lmn.mbus.profiles import CompactProfile, profile_of
from lmn.mbus.records import Application
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import DAY, SECOND, WorldTime
from smgw_emu.core.obis import Obis
from smgw_emu.core.values import MeterValue

_DURATION_S = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
MAX_ELEMENTS = 1500  # own choice: the newest ones of a profile; 15 days of quarters
MAX_AGE = 400 * DAY  # own choice: what is older is no value of ours, whatever a meter says
_HALF_MONTHS = 26  # within MAX_AGE
_MICROSECOND = timedelta(microseconds=1)


class Measured(msgspec.Struct, frozen=True):
    """Values of one moment.

    Attributes:
        age_ns: before arrival.
        values: registers.
        use: as in :class:`~smgw_emu.core.values.MeterReport`.
    """

    age_ns: int
    values: tuple[MeterValue, ...]
    use: Literal["both", "present", "stored"]


def actuality(application: Application, storage: int = 0) -> int | None:
    """Return DP1! in nanoseconds: that of the storage number, else of storage 0; None without."""
    found: int | None = None
    for record in application.records:
        header = record.header
        if header.quantity.name != "actuality duration" or header.storage not in {0, storage}:
            continue
        if isinstance(record.value, int) and record.value >= 0:
            age = record.value * _DURATION_S[header.quantity.unit] * SECOND
            if age > MAX_AGE:
                continue
            if header.storage == storage:
                return age
            found = age
    return found


def measured(
    application: Application, device_type: int, codes: ObisMap, at: WorldTime, *, actual: bool
) -> list[Measured]:
    """Return the values of a telegram: present ones, those of profiles, oldest first, the rest.

    Args:
        application: the records.
        device_type: of the meter.
        codes: OBIS map.
        at: when the telegram arrived.
        actual: DP1! counts also for values that are not of a profile.
    """
    profiled: set[Obis] = set()
    elements: dict[int, list[MeterValue]] = {}
    present: list[Measured] = []
    for record in application.records:
        header = record.header
        if header.profile != "inverse":
            continue
        obis, age = (
            codes.find(device_type, header, stored=True),
            actuality(application, header.storage),
        )
        if obis is None or age is None:
            continue
        try:
            profile = profile_of(record, application)
        except RemoteProtocolError:
            continue
        if profile.base is None:
            continue
        profiled.add(obis)
        value = meter_value(obis, profile.base.header, profile.base.value)
        if value is not None:
            present.append(Measured(age, (value,), "present"))
        _collect(profile, obis, age, at, elements)
    age = (actuality(application) or 0) if actual or profiled else 0
    found = registers(application, device_type, codes)
    free = tuple(value for value in found if value.obis not in profiled)
    shown = tuple(value for value in found if value.obis in profiled)
    if shown:
        present.insert(0, Measured(age, shown, "present"))
    newest = sorted(elements)[:MAX_ELEMENTS]
    older = [Measured(age, tuple(elements[age]), "stored") for age in reversed(newest)]
    rest = [Measured(age, free, "both")] if free or not shown else []
    return present + older + rest


def _collect(
    profile: CompactProfile,
    obis: Obis,
    age: int,
    at: WorldTime,
    elements: dict[int, list[MeterValue]],
) -> None:
    assert profile.base is not None
    base = (at + -age).datetime()
    for number, element in enumerate(profile.values, start=1):
        if number * profile.spacing.half_months > _HALF_MONTHS:
            break
        if profile.spacing.half_months:
            back = (base - profile.moment(base, number)) // _MICROSECOND * 1000
        else:
            back = profile.spacing.seconds * number * SECOND
        if age + back > MAX_AGE:
            break
        value = meter_value(obis, profile.base.header, element)
        if value is not None:
            elements.setdefault(age + back, []).append(value)
