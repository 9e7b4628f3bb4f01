"""World time and device time: two types that never mix.

World time is what the laboratory's clock shows (wall time, or virtual time). Device time is what
the emulated gateway believes; :class:`smgw_emu.core.device_clock.DeviceClock` maps one to the
other. Both count nanoseconds since 1970-01-01T00:00:00Z, durations are plain ``int``
nanoseconds. Comparing or subtracting the two types is a ``TypeError`` and a mypy error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from smgw_emu.core.errors import RemoteProtocolError

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LATEST = 1 << 62  # the year 2116: a moment beyond it, read from a file, is damage

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class _Instant:
    """A point in time, ``ns`` nanoseconds since the epoch."""

    ns: int

    def __add__(self, duration: int) -> Self:
        return type(self)(self.ns + duration)

    def __sub__(self, other: Self) -> int:
        if type(other) is not type(self):
            return NotImplemented
        return self.ns - other.ns

    @property
    def seconds(self) -> int:
        """Whole seconds since the epoch, rounded down."""
        return self.ns // SECOND

    @classmethod
    def from_seconds(cls, seconds: int) -> Self:
        """Build from whole seconds since the epoch."""
        return cls(seconds * SECOND)

    @classmethod
    def from_datetime(cls, moment: datetime) -> Self:
        """Build from an aware ``datetime`` (microsecond precision)."""
        delta = moment - _EPOCH
        return cls((delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds * 1000)

    def datetime(self) -> datetime:
        """Return the aware UTC ``datetime`` (microseconds, rounded down)."""
        return _EPOCH + timedelta(microseconds=self.ns // 1000)

    def iso(self) -> str:
        """Return ``YYYY-MM-DDThh:mm:ssZ``, the form of every device interface (IF_GW_CON A-1.1)."""
        day = self.datetime()
        date = f"{day.year:04d}-{day.month:02d}-{day.day:02d}"
        return f"{date}T{day.hour:02d}:{day.minute:02d}:{day.second:02d}Z"


class WorldTime(_Instant):
    """Time of the laboratory."""

    __slots__ = ()


class DeviceTime(_Instant):
    """Time the gateway believes (UTC)."""

    __slots__ = ()


# IF_GW_CON: no zone, "Z", or an offset whose hour may have one digit ("+1:00").
_DATETIME = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:(Z)|([+-])(\d{1,2}):(\d{2}))?",
    re.ASCII,
)


def parse_device_time(text: str) -> DeviceTime:
    """Read a date-time parameter of IF_GW_CON A-1.1.3; no zone means UTC.

    Raises:
        RemoteProtocolError: the text has another form or names no existing moment.
    """
    match = _DATETIME.fullmatch(text)
    if match is None:
        raise RemoteProtocolError(f"not a date-time of IF_GW_CON A-1.1.3: {text[:40]!r}")
    fields = match.groups()
    try:
        moment = datetime(*(int(part) for part in fields[:6]), tzinfo=UTC)  # type: ignore[misc, arg-type]
        if fields[7]:
            hours, minutes = int(fields[8]), int(fields[9])
            if hours > 14 or minutes > 59:  # XSD 1.1 dateTime: offsets up to 14:00
                raise ValueError("offset out of range")
            shift = timedelta(hours=hours, minutes=minutes)
            moment = moment - shift if fields[7] == "+" else moment + shift
    except (ValueError, OverflowError) as error:
        raise RemoteProtocolError(f"no such date-time: {text[:40]!r}") from error
    return DeviceTime.from_datetime(moment)
