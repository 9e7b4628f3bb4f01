"""TAF12, prepaid (TR-03109-1 v1.0 4.2.5.2, T34; informative).

The administrator sets the available energy and the time from which it counts. What remains is
computed at each registration (list ``derived``, 0-0:19.20.0, a code of our own choice). Participant
and consumer are told when it falls below the threshold, when it is used up, and when the tolerance
after that is over: then the breakers get their signal. A new setting begins anew. Without inner
signature (digest of the norm, C.1).

Parameters: ``prepaid``, ``period_s`` (at most 900 electricity, 3600 gas).
"""

from __future__ import annotations

from typing import ClassVar

from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import parse_device_time
from smgw_emu.core.obis import ELECTRICITY, Obis
from smgw_emu.core.tariff import base
from smgw_emu.core.tariff.terms import Step, Terms
from smgw_emu.core.tariff.totals import Advance
from smgw_emu.core.usage_point import Prepaid

REMAINING = Obis(bytes.fromhex("0000131400ff"))


class State(base.State):
    """What was used since ``setting`` came into force, and what was told."""

    setting: str = ""
    used: int = 0
    told: int = 0  # 1 threshold, 2 used up, 3 end of tolerance
    used_up_at: int = 0


_NOTES = ("prepaid-low", "prepaid-used-up", "prepaid-breaker")


class RuleSet(base.RuleSet):
    """Remaining energy."""

    TAF: ClassVar = 12
    NAME: ClassVar = "Prepaid"
    STATE: ClassVar = State
    SIGNED: ClassVar = False
    DISPATCH: ClassVar = "event"
    DATABASES: ClassVar = ("origin", "derived", "daily")

    @classmethod
    def faults(cls, terms: Terms) -> base.Faults:
        """Check the setting and the pace (4.2.5.2: every 15 min, gas 60 min)."""
        point, faults = terms.point, []
        if len(terms.counters) != 1:
            faults.append(("obis", "TAF12: one measurand"))
        limit = 900 if terms.counters and terms.counters[0].medium == ELECTRICITY else 3600
        if point.period_s > limit:
            faults.append(("period_s", f"TAF12: at most {limit}"))
        prepaid = point.prepaid
        if prepaid is None:
            return [*faults, ("prepaid", "TAF12: available energy and start are needed")]
        try:
            parse_device_time(prepaid.start)
        except RemoteProtocolError as error:
            faults.append(("prepaid/start", str(error)))
        if prepaid.energy <= 0 or not 0 <= prepaid.threshold <= prepaid.energy:
            faults.append(("prepaid/energy", "above 0, and not below the threshold"))
        if prepaid.tolerance_s < 0:
            faults.append(("prepaid/tolerance_s", "not below 0"))
        return faults

    @property
    def _prepaid(self) -> Prepaid:
        assert self.point.prepaid is not None  # faults() has seen to it
        return self.point.prepaid

    @property
    def remaining(self) -> int:
        """Thousandths that are left, not below 0."""
        return max(0, 1000 * self._prepaid.energy - int(self.state.used))

    def registers(self) -> list[base.Register]:
        """Return the sums and what remains."""
        known = self._totals_of()
        if not known:
            return []
        total = known[0][1]
        left = base.Register(REMAINING, self.remaining, min(total.scaler, 0), total.unit)
        return [*super().registers(), left]

    def codes(self, database: str) -> list[Obis]:
        """Return what remains; the daily values have the sums too."""
        return [REMAINING] if database == "derived" else [*super().codes(database), REMAINING]

    def period_lines(self, target: object) -> list[base.Register]:  # noqa: ARG002
        """Billing periods have no meaning here."""
        return []

    def account(self, advance: Advance, step: Step, outcome: base.Outcome) -> None:
        """Take off what was used, write what remains, tell what must be told."""
        setting = f"{self._prepaid.energy} {self._prepaid.start}"
        due = step.target >= parse_device_time(self._prepaid.start)
        if due and setting != self.state.setting:
            self.state.setting, self.state.used = setting, 0
            self.state.told = self.state.used_up_at = 0
        elif due:
            self.state.used += sum(advance.amounts.values())
        reason = self._tell(step, outcome) if due else ""
        left = [register for register in self.registers() if register.obis == REMAINING]
        outcome.put(self.lines("derived", left, step.target, good=True, reason=reason))
        outcome.changed = outcome.changed or bool(reason)

    def barred(self, step: Step, outcome: base.Outcome) -> None:
        """The tolerance runs on without values."""
        if self.state.used_up_at:
            self._tell(step, outcome)

    def _tell(self, step: Step, outcome: base.Outcome) -> str:
        """Note each mark that was passed; returns the last one as the line's reason."""
        now, prepaid = step.target.seconds, self._prepaid
        if not self.remaining and not self.state.used_up_at:
            self.state.used_up_at = now
        over = self.state.used_up_at and now >= self.state.used_up_at + prepaid.tolerance_s
        marks = (self.remaining < 1000 * prepaid.threshold, not self.remaining, bool(over))
        reason = ""
        for number, passed in enumerate(marks, 1):
            if passed and self.state.told < number:
                self.state.told = number
                reason = _NOTES[number - 1]
                about = {"usage_point": self.point.name, "remaining": self.remaining // 1000}
                outcome.notes.append((reason, about | {"breakers": ", ".join(prepaid.breakers)}))
        return reason
