"""What all use cases share: a rule set at work, the lines it writes, the state it keeps.

Theory of operation (TR-03109-1 v1.0 4.2, 4.3.3). Metering offers each registration of all meters of
a contract as a :class:`~smgw_emu.core.tariff.terms.Step`. The rule set adds the readings up, lets
the use case account for the amount, and writes lines: at the edges of billing periods to
``derived``, at changes of a stage to ``calculated``, once a day to ``daily``. State is a record
that is stored in the transaction of the lines, so a power cut leaves both or neither. Edges that
fell into a time without registrations are written with the last known amounts, marked as missing
values are (GW-N09). The same steps give the same lines, bit for bit.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import msgspec

from smgw_emu.core.billing import Marks, edges, next_edge
from smgw_emu.core.instants import DAY, DeviceTime
from smgw_emu.core.legal_time import next_day_start
from smgw_emu.core.obis import Obis
from smgw_emu.core.status import Condition, Dialect, smgw_word
from smgw_emu.core.tariff.terms import Key, Step, Terms
from smgw_emu.core.tariff.totals import Advance, Total, Totals, TotalsState, amount
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.values import Reading

Faults = list[tuple[str, str]]  # element of the profile, reason
Dispatch = Literal["daily", "period", "cycle", "event", "request"]
Planned = Callable[[DeviceTime], DeviceTime | None]
# Own choice: what is written after a very long absence. Older lines would be dropped at once.
MAX_ABSENCE = 500 * DAY
MAX_DAILY = 43 * DAY

NOT_A_UNIT = 255  # DLMS: a number without unit


@dataclass(frozen=True, slots=True)
class Register:
    """A register of a contract: code, thousandths of the unit, and how it is shown.

    ``capture``: when its value was taken, in ns; 0: with the last registration that counted.
    """

    obis: Obis
    milli: int
    scaler: int
    unit: int
    capture: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A line for a value list; ``reading`` is unsigned, ``reason`` says why it was written."""

    database: str
    reading: Reading
    reason: str = ""


@dataclass(slots=True)
class Outcome:
    """What a step has brought.

    Attributes:
        lines: for the value lists, in order.
        notes: events of the catalogue with their parameters.
        changed: the stage changed, or something else a participant waits for.
        readings: what was registered, of all meters.
    """

    lines: list[Line] = field(default_factory=list)
    notes: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    changed: bool = False
    readings: Mapping[Key, Reading] = field(default_factory=dict)

    def put(self, lines: Iterable[Line]) -> None:
        """Append lines; of several for one register and moment the last stays, with all reasons."""
        for line in lines:
            key = line.database, line.reading.obis, line.reading.target
            reason = line.reason
            for old in [
                x for x in self.lines if key == (x.database, x.reading.obis, x.reading.target)
            ]:
                self.lines.remove(old)
                reason = f"{old.reason}, {reason}"
            self.lines.append(Line(line.database, line.reading, reason))


class State(msgspec.Struct):
    """What a rule set keeps; use cases add fields. Times are seconds, amounts thousandths."""

    at: int = 0
    """Target of the last step; 0: none yet."""
    good: bool = False
    """It counted."""
    disturbed: bool = False
    """Something of this billing period is lost: its lines carry a warning."""
    totals: TotalsState = msgspec.field(default_factory=TotalsState)


class RuleSet:
    """A use case at work for one contract. Subclasses are the use cases.

    Args:
        terms: the contract.
        dialect: of the status words.
        state: as stored, None at the beginning.

    Attributes:
        TAF, NAME: number and name.
        DATABASES: the value lists, names of IF_GW_CON A-2.6.
        STORED: registrations are kept in ``origin``.
        SIGNED: values carry the inner signature (TR-03109-1 v1.0 4.2.2 to 4.2.5: TAF1 to 9 and
            11; not 10 and 12).
        DISPATCH: when values go to participants; DELIVERED: out of which list.
        COUNTS: at least one register must count; present values alone give no result.
        JOINED: sums go on over rollover, reset and meter exchange.
        GAPLESS: each registration that is missing takes something from the result.
        DATED: lines of a billing period have time stamps of their own, and stand for themselves.
        PRESENT: present values (D = 7) are registered too.
        SERIES: the raster that all contracts share, one of its own with further moments, or only
            moments of its own.
    """

    TAF: ClassVar[int]
    NAME: ClassVar[str]
    DATABASES: ClassVar[tuple[str, ...]] = ("origin", "derived", "daily")
    STORED: ClassVar[bool] = True
    SIGNED: ClassVar[bool] = True
    DISPATCH: ClassVar[Dispatch] = "period"
    DELIVERED: ClassVar[tuple[str, ...]] = ("derived",)
    COUNTS: ClassVar[bool] = True
    PRESENT: ClassVar[bool] = False
    SERIES: ClassVar[Literal["shared", "own", "events"]] = "shared"
    JOINED: ClassVar[bool] = True
    DATED: ClassVar[bool] = False
    GAPLESS: ClassVar[bool] = False
    STATE: ClassVar[type[State]] = State

    def __init__(self, terms: Terms, dialect: Dialect, state: Any = None) -> None:
        self.terms = terms
        self.point = terms.point
        self.dialect = dialect
        self.state: Any = self.STATE() if state is None else state
        self._edges = Marks(lambda after: next_edge(terms.point, terms.clock, after))
        self._days = Marks(lambda after: next_day_start(after, terms.daily))
        self.totals = Totals(terms, self.state.totals, dialect, joined=self.JOINED)

    # -- what a use case defines -----------------------------------------------------------

    @classmethod
    def faults(cls, terms: Terms) -> Faults:  # noqa: ARG003  # use cases without parameters
        """Return what is wrong with a profile: element and reason."""
        return []

    @classmethod
    def series(cls, point: UsagePoint) -> str:
        """Return the name of the series of registrations a contract works with."""
        return str(point.period_s) if cls.SERIES == "shared" else f"@{point.name}"

    @classmethod
    def planned(cls, point: UsagePoint) -> Planned | None:  # noqa: ARG003  # most have none
        """Return a function that gives the next planned moment besides the raster, or None."""
        return None

    def account(self, advance: Advance, step: Step, outcome: Outcome) -> None:
        """Take the amount of a registration that counts."""

    def barred(self, step: Step, outcome: Outcome) -> None:
        """Take note of a registration that does not count."""

    def registers(self) -> list[Register]:
        """Return the derived registers: the sums, and what a use case adds."""
        return [
            Register(obis, total.milli, total.scaler, total.unit)
            for obis, total in self._totals_of()
        ]

    def moments(self) -> list[DeviceTime]:
        """Return moments a registration is waited for, besides raster and plan."""
        return []

    def codes(self, database: str) -> list[Obis]:  # noqa: ARG002  # some differ by list
        """Return the registers of a derived list, known before its first line."""
        return list(self.terms.counters)

    def period_lines(self, target: DeviceTime) -> list[Register]:  # noqa: ARG002
        """Return what is written to ``derived`` at the edge of a billing period."""
        return self.registers()

    def next_period(self, edge: DeviceTime, outcome: Outcome, *, good: bool) -> None:
        """Begin a billing period; ``good``: its edge has a value."""

    # -- one registration ------------------------------------------------------------------

    def step(self, step: Step) -> Outcome:
        """Take a registration of all meters; the caller stores lines and state together."""
        outcome = Outcome(readings=step.readings)
        if not self.point.valid_at(step.target):
            self._write_end(outcome)
            return outcome
        if self.state.at:
            self._write_missed(step, outcome)
        unbroken = self.state.good and step.follows
        advance = self.totals.advance(step, unbroken=unbroken)
        if advance is None:
            self.state.disturbed |= self.GAPLESS
            self.barred(step, outcome)
        else:
            outcome.notes += advance.notes
            lost = any(name == "register-reset" for name, _ in advance.notes)
            self.state.disturbed |= lost or (self.GAPLESS and not advance.continuous)
            self.account(advance, step, outcome)
        self.state.at, self.state.good = step.target.seconds, advance is not None
        self._write_due(step.target, outcome, good=advance is not None)
        return outcome

    def _write_missed(self, step: Step, outcome: Outcome) -> None:
        """Write the edges and daily values that fell between two registrations."""
        if not step.follows:
            self.state.disturbed |= self.GAPLESS
            for target in self._due_until(step.target):
                if target < step.target:
                    self._write_due(target, outcome, good=False)

    def _write_end(self, outcome: Outcome) -> None:
        """Write the end of a contract that ended between two registrations."""
        finish = self.point.finish
        if finish is not None and self.state.at and self.state.at < finish.seconds:
            for target in self._due_until(finish):
                self._write_due(target, outcome, good=False)
            self.state.at, self.state.good = finish.seconds, False

    def _due_until(self, until: DeviceTime) -> list[DeviceTime]:
        """Return edges and times of daily values after the last registration, the newest ones."""
        last = DeviceTime.from_seconds(self.state.at)
        due = set(edges(self.point, self.terms.clock, max(last, until + -MAX_ABSENCE), until))
        moment = next_day_start(max(last, until + -MAX_DAILY), self.terms.daily)
        while moment <= until:
            due.add(moment)
            moment = next_day_start(moment, self.terms.daily)
        return sorted(due)

    def _write_due(self, target: DeviceTime, outcome: Outcome, *, good: bool) -> None:
        point = self.point
        edge = target in (point.begin, point.finish) or self._edges.hit(target)
        if edge and "derived" in self.DATABASES:
            lines = self.period_lines(target)
            stands = good or self.DATED
            outcome.put(self.lines("derived", lines, target, good=stands, reason="period"))
            outcome.changed = outcome.changed or bool(lines)
        if "daily" in self.DATABASES and self._days.hit(target):
            outcome.put(self.lines("daily", self.registers(), target, good=good, reason="day"))
        if edge:
            self.next_period(target, outcome, good=good)
            self.state.disturbed = self.GAPLESS and not good

    # -- lines -----------------------------------------------------------------------------

    def lines(
        self,
        database: str,
        registers: Iterable[Register],
        target: DeviceTime,
        *,
        good: bool,
        reason: str,
    ) -> list[Line]:
        """Return registers as lines of a list; marked as missing unless ``good``."""
        totals = [total for _, total in self._totals_of()]
        if not totals:
            return []
        taken = max(total.capture for total in totals)
        conditions = {Condition.NOT_FOR_BILLING, Condition.NO_VALUE}
        smgw, meter = smgw_word(conditions, self.dialect), 0
        if good:
            smgw = functools.reduce(operator.or_, (total.smgw_word for total in totals))
            meter = functools.reduce(operator.or_, (total.meter_word for total in totals))
            if self.state.disturbed:
                smgw |= smgw_word({Condition.WARNING}, self.dialect)
        return [
            Line(
                database,
                Reading(
                    meter=self.point.name,
                    obis=register.obis,
                    target=target,
                    capture=DeviceTime(register.capture or taken),
                    value=amount(register.milli, register.scaler),
                    scaler=register.scaler,
                    unit=register.unit,
                    smgw_word=smgw,
                    meter_word=meter,
                    repeated=not good,
                ),
                reason,
            )
            for register in registers
        ]

    def _totals_of(self) -> list[tuple[Obis, Total]]:
        known = self.state.totals.totals
        return [(obis, known[obis.hex]) for obis in self.terms.counters if obis.hex in known]
