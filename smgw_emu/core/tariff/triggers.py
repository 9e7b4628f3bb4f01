"""Events of a profile: a register crosses a threshold, a status of the meter arrives.

TR-03109-1 v1.0 4.2.4.1 (TAF10) names the minimum; TAF9 and TAF16 use the same. An event is the
change from not fulfilled (or unknown, after power-up) to fulfilled.
"""

from __future__ import annotations

from collections.abc import Iterable

from smgw_emu.core.obis import Obis
from smgw_emu.core.tariff.totals import to_inner
from smgw_emu.core.usage_point import Trigger, UsagePoint
from smgw_emu.core.values import MeterReport

_MILLIONTHS = 1_000_000


class TriggerWatch:
    """The triggers of all contracts."""

    def __init__(self) -> None:
        self._fulfilled: dict[tuple[str, int], bool] = {}

    def fired(
        self, points: Iterable[UsagePoint], report: MeterReport, word: int
    ) -> list[tuple[UsagePoint, Trigger]]:
        """Return the events a report brings; ``word`` is the meter's status word."""
        events = []
        for point in points:
            for number, trigger in enumerate(point.triggers):
                state = _fulfilled(trigger, report, word)
                if state is None:
                    continue
                if state and not self._fulfilled.get((point.name, number), False):
                    events.append((point, trigger))
                self._fulfilled[point.name, number] = state
        return events

    def clear(self) -> None:
        """Forget everything (the profiles have changed)."""
        self._fulfilled.clear()


def _fulfilled(trigger: Trigger, report: MeterReport, word: int) -> bool | None:
    """Tell whether a trigger is fulfilled; None: the report does not say."""
    if trigger.kind == "status":
        return bool(word & int(trigger.mask, 16))
    wanted = Obis.parse(trigger.obis)
    value = next((item for item in report.values if item.obis == wanted), None)
    if value is None:
        return None
    inner, limit = to_inner(value.value, value.scaler), trigger.limit * _MILLIONTHS
    return inner > limit if trigger.kind == "above" else inner < limit


def describe(trigger: Trigger) -> str:
    """Return an event for the log."""
    if trigger.kind == "status":
        return f"status {trigger.mask}"
    return f"{trigger.obis} {trigger.kind} {trigger.limit}"
