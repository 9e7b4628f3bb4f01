"""TAF5, event-variable tariffs (TR-03109-1 v1.0 4.2.2.5, T26).

The stage changes on tariff switching instructions of the administrator. Each carries the time until
which it may still be carried out; the gateway looks at it before switching, drops an expired one
and tells the administrator (4.2.2.5.1). At a change the readings are taken, a value list entry is
written, and the energy belongs to the stage valid until then.

Parameters: ``stages``, ``first_stage``, ``period_s``, ``billing_period``.
TR minimum; the CONEXA does not name it (GW-N03).
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.tariff import base
from smgw_emu.core.tariff.stages import StageRules, StagesState
from smgw_emu.core.tariff.terms import Step, Terms
from smgw_emu.core.tariff.totals import Advance

MAX_PENDING = 1000  # own choice


class Instruction(msgspec.Struct, frozen=True):
    """Switch to ``stage`` at ``at``; not any more after ``until`` (seconds)."""

    stage: int
    at: int
    until: int


class State(StagesState):
    """Instructions that wait, by time."""

    pending: list[Instruction] = msgspec.field(default_factory=list)


class RuleSet(StageRules):
    """Stages by instruction."""

    TAF: ClassVar = 5
    NAME: ClassVar = "Ereignisvariable Tarife"
    SERIES: ClassVar = "own"
    STATE: ClassVar = State

    @classmethod
    def faults(cls, terms: Terms) -> base.Faults:
        """Check the stages; one must be there from the beginning."""
        faults = super().faults(terms)
        if not terms.point.first_stage:
            faults.append(("first_stage", "TAF5: the stage at activation is needed"))
        return faults

    def instruct(self, instruction: Instruction) -> str:
        """Take an instruction; returns a reason if it cannot be taken, else ""."""
        if instruction.stage not in {stage.number for stage in self.point.stages}:
            return f"no stage {instruction.stage}"
        if instruction.until < instruction.at:
            return "expires before it is due"
        if len(self.state.pending) >= MAX_PENDING:
            return "too many instructions wait"
        pending = [*self.state.pending, instruction]
        self.state.pending = sorted(pending, key=lambda item: item.at)
        return ""

    def moments(self) -> list[DeviceTime]:
        """Return when instructions are due."""
        return [DeviceTime.from_seconds(item.at) for item in self.state.pending]

    def account(self, advance: Advance, step: Step, outcome: base.Outcome) -> None:
        """Add to the stage valid until now, then carry out what is due."""
        self.add(advance, self.state.stage)
        if not self.state.stage:
            self.change(self.point.first_stage, step, outcome, "begin")
        self._carry_out(step, outcome, good=True)

    def barred(self, step: Step, outcome: base.Outcome) -> None:
        """An instruction is carried out without a value too; its entry is marked."""
        self._carry_out(step, outcome, good=False)

    def _carry_out(self, step: Step, outcome: base.Outcome, *, good: bool) -> None:
        now = step.target.seconds
        carried_out = now if step.late is None else step.late.seconds
        due = [item for item in self.state.pending if item.at <= now]
        self.state.pending = [item for item in self.state.pending if item.at > now]
        for item in due:
            about = {"usage_point": self.point.name, "stage": item.stage}
            gone = item.stage not in {stage.number for stage in self.point.stages}
            if item.until < carried_out or gone:
                outcome.notes.append(("instruction-expired", about))
                continue
            outcome.notes.append(("instruction-carried-out", about))
            if item.stage != self.state.stage:
                self.state.stage = item.stage
                self.entry(step.target, outcome, f"stage {item.stage}", good=good)
