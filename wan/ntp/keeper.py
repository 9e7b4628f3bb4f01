"""Keeping legal time: what samples and silence mean (TR-03109-1 v1.0 3.2.6).

Theory of operation. ZAmax is 3 % of the smallest billing-relevant period, 27 s for 15 minutes.

* **No valid time** (first start, after a fault): the first authentic sample sets the clock; its
  deviation is not limited, nor is condition 2 below asked (3.2.6.3.4, fn 5).
* **Valid time**: a sample counts only if ``RTT < ZAmax`` (condition 1) and
  ``|ZA| + RTT/2 < ZAmax`` (condition 2); else the GWA finds an entry in the log. The clock is
  corrected by ZA. ``|ZA| > ZAmax`` means the limit was overstepped (exactly 27.0 s does not,
  SEC-11): calibration log, the GWA is informed, values are marked. Such a synchronisation is not
  valid, so the clock waits for the administrator (:meth:`command`; the next sample then sets it as
  in a fault, fn 5); ``on_deviation = "correct"`` takes the server for the truth at once.
* **Silence**: after ``T = warning * period * tolerance / drift`` without a valid synchronisation
  the GWA is alarmed and the calibration log gets an entry. After ``invalid_after_s`` (GW-N11), or
  when the drift may have used up the whole of ZAmax (T / warning), time counts as invalid. The two
  do not wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.profiles import Time as Limits
from wan.ntp.client import Sample

_MILLION = 1_000_000


class TimeEventKind(StrEnum):
    """What happened to time."""

    SET = "clock set by the first authentic time"
    CORRECTED = "clock corrected"
    ROUND_TRIP_TOO_LONG = "measurement discarded: round-trip time"
    UNCERTAIN = "measurement discarded: deviation and half the round trip reach the limit"
    DEVIATION_TOO_LARGE = "deviation above the limit"
    ALARM = "no valid synchronisation within T"
    INVALID = "time is no longer valid"


@dataclass(frozen=True, slots=True)
class TimeEvent:
    """One event.

    Attributes:
        kind: what happened.
        step: by how much the clock is to be moved, nanoseconds; 0: not at all.
        valid: whether time is valid from now on.
        round_trip: RTT of the sample, nanoseconds.
    """

    kind: TimeEventKind
    step: int = 0
    valid: bool = True
    round_trip: int = 0

    @property
    def calibration(self) -> bool:
        """Whether the calibration log gets an entry and the GWA is told."""
        return self.kind in {
            TimeEventKind.DEVIATION_TOO_LARGE,
            TimeEventKind.ALARM,
            TimeEventKind.INVALID,
        }


class TimeKeeper:
    """Decides on samples and silence.

    Args:
        limits: of the profile.
        now: power-up.
        valid: whether the RTC kept valid time (3.2.6.3 no. 4).
        since: last synchronisation before power-up; silence counts from there.

    Attributes:
        valid: whether time is valid.
        deviating: the clock was found beyond the limit and waits for the administrator.
    """

    def __init__(
        self, limits: Limits, now: WorldTime, *, valid: bool, since: WorldTime | None = None
    ) -> None:
        self._limits = limits
        self.valid = valid
        self.deviating = False
        self.last_sync: WorldTime | None = since
        self._since = now if since is None else since
        self._alarmed = False
        self._commanded = False

    @property
    def max_deviation(self) -> int:
        """ZAmax in nanoseconds."""
        limits = self._limits
        return limits.smallest_period_s * SECOND * limits.tolerance_percent // 100

    @property
    def alarm_time(self) -> int:
        """T in nanoseconds."""
        return self.holdover * self._limits.warning_percent // 100

    @property
    def holdover(self) -> int:
        """How long the worst drift needs to use up ZAmax, nanoseconds."""
        return self.max_deviation * _MILLION // self._limits.max_drift_ppm

    @property
    def invalid_time(self) -> int:
        """Silence after which time is invalid, nanoseconds."""
        return self._limits.invalid_after_s * SECOND or self.holdover

    def set_valid(self, now: WorldTime, *, valid: bool) -> None:
        """Somebody else has set the clock; silence counts from a valid time on."""
        self.valid = valid
        if valid:
            self._since, self._alarmed, self.deviating = now, False, False

    @property
    def commanded(self) -> bool:
        """Whether the administrator waits for a synchronisation."""
        return self._commanded

    def command(self) -> None:
        """The administrator wants a synchronisation whatever the deviation (A6)."""
        self._commanded = True

    def on_sample(self, sample: Sample, now: WorldTime) -> list[TimeEvent]:
        """Take a good answer of the server."""
        limit = self.max_deviation
        if sample.round_trip >= limit:
            kind = TimeEventKind.ROUND_TRIP_TOO_LONG
            return [TimeEvent(kind, 0, self.valid, sample.round_trip)]
        events = []
        if not self.valid or self._commanded:
            kind = TimeEventKind.SET
        else:
            kind = TimeEventKind.CORRECTED
            if abs(sample.offset) > limit:
                if not self.deviating:
                    large = TimeEventKind.DEVIATION_TOO_LARGE
                    events.append(TimeEvent(large, 0, True, sample.round_trip))
                if self._limits.on_deviation == "hold":
                    self.deviating = True
                    return events
            elif abs(sample.offset) + sample.round_trip // 2 >= limit:
                doubt = TimeEventKind.UNCERTAIN
                return [TimeEvent(doubt, 0, self.valid, sample.round_trip)]
        self.valid, self._alarmed, self._commanded, self.deviating = True, False, False, False
        self.last_sync = self._since = now
        return [*events, TimeEvent(kind, sample.offset, True, sample.round_trip)]

    def next_deadline(self) -> WorldTime | None:
        """Return when silence means something."""
        waits = [] if self._alarmed else [self.alarm_time]
        waits += [self.invalid_time] if self.valid else []
        return self._since + min(waits) if waits else None

    def on_deadline(self, now: WorldTime) -> list[TimeEvent]:
        """Return what the silence up to ``now`` means."""
        events = []
        while (deadline := self.next_deadline()) is not None and now >= deadline:
            if self.valid and deadline - self._since >= self.invalid_time:
                self.valid = False
                events.append(TimeEvent(TimeEventKind.INVALID, valid=False))
            if not self._alarmed and deadline - self._since >= self.alarm_time:
                self._alarmed = True
                events.append(TimeEvent(TimeEventKind.ALARM, valid=self.valid))
        return events
