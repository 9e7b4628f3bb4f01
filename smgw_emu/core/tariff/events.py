"""TAF11 and TAF16: readings at events.

* TAF11, control of interruptible consumers and generators (TR-03109-1 v1.0 4.2.5.1, T33;
  informative): on a control signal time, energy and present power are recorded, one value list
  entry each, and sent at once. The level of the signal (percent of the power, 0 is off) stands in
  ``calculated`` under 0-0:96.50.0, a code of our own.
* TAF16, readings at events (named by BDEW/BSI beside TAF5, no public definition: ``wan.md`` 5.1):
  the readings at an order of the administrator or a trigger of the profile.

Parameters: ``obis``, ``triggers`` (TAF16).
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.obis import Obis
from smgw_emu.core.tariff import base
from smgw_emu.core.tariff.terms import Step, Terms
from smgw_emu.core.tariff.totals import Advance
from smgw_emu.core.tariff.volatile import trigger_faults

LEVEL = Obis(bytes.fromhex("0000603200ff"))  # own choice
_PERCENT = 100


class State(base.State):
    """Control signals that wait for their registration: target in seconds and level."""

    signals: list[tuple[int, int]] = msgspec.field(default_factory=list)


class _EventRules(base.RuleSet):
    SERIES: ClassVar = "events"
    PRESENT: ClassVar = True
    DISPATCH: ClassVar = "event"
    JOINED: ClassVar = False


class ControlEvents(_EventRules):
    """Readings at control signals."""

    TAF: ClassVar = 11
    NAME: ClassVar = "Steuerung von unterbrechbaren Verbrauchseinrichtungen und Erzeugungsanlagen"
    DATABASES: ClassVar = ("origin", "calculated")
    DELIVERED: ClassVar = ("origin", "calculated")
    STATE: ClassVar = State

    def signal(self, at: int, level: int) -> str:
        """Take a control signal; returns a reason if it cannot be taken, else ""."""
        if not 0 <= level <= _PERCENT:
            return "a level from 0 to 100"
        self.state.signals = [*self.state.signals, (at, level)][-_PERCENT:]
        return ""

    def moments(self) -> list[DeviceTime]:
        """Return when signals came that are not recorded yet."""
        return [DeviceTime.from_seconds(at) for at, _ in self.state.signals]

    def account(self, advance: Advance, step: Step, outcome: base.Outcome) -> None:  # noqa: ARG002
        """Write down the level of each signal whose moment this is."""
        self._write(step, outcome, good=True)

    def barred(self, step: Step, outcome: base.Outcome) -> None:
        """Without a value the entry is marked."""
        self._write(step, outcome, good=False)

    def codes(self, database: str) -> list[Obis]:
        """Return the level of the signal."""
        return [LEVEL] if database == "calculated" else super().codes(database)

    def _write(self, step: Step, outcome: base.Outcome, *, good: bool) -> None:
        due = [level for at, level in self.state.signals if at <= step.target.seconds]
        self.state.signals = [item for item in self.state.signals if item[0] > step.target.seconds]
        for level in due[-1:]:
            entry = base.Register(LEVEL, 1000 * level, 0, base.NOT_A_UNIT)
            reason = f"control {level} %"
            outcome.put(self.lines("calculated", [entry], step.target, good=good, reason=reason))
        outcome.changed = True


class EventReadings(_EventRules):
    """Readings at orders and triggers."""

    TAF: ClassVar = 16
    NAME: ClassVar = "Ereignisbasierte Zählerstandserfassung"
    DATABASES: ClassVar = ("origin",)
    DELIVERED: ClassVar = ("origin",)
    COUNTS: ClassVar = False

    @classmethod
    def faults(cls, terms: Terms) -> base.Faults:
        """Triggers name registers of the contract."""
        return trigger_faults(terms)

    def account(self, advance: Advance, step: Step, outcome: base.Outcome) -> None:  # noqa: ARG002
        """Tell the dispatcher."""
        outcome.changed = True
