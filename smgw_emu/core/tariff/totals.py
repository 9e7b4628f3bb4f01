"""From readings to amounts: sums and differences over meters, exact, with three decimals.

Theory of operation (TR-03109-1 v1.0 4.2.2.1, 4.3.3, 4.3.4).

* Readings are added exactly (six decimals inside, Detailspezifikation v2.0), multiplied by the
  transformer factor, and the sum is rounded to three decimals, 0 to 4 down, 5 to 9 up (4.3.3
  no. 11). Amounts are differences of rounded sums, so what is distributed adds up to the total.
* A registration counts only if every meter has a value in its window and no status bars it (4.3.4:
  fatal error, invalid clock; PTB status 3 or 4). What a barred registration leaves open is added
  with the next good one, whose amount is then not ``continuous``.
* The sum goes on where a register rolled over (its profile names its digits) or was set back: its
  offset grows. It also goes on when a meter is exchanged (4.3.3 no. 5): the new meter's first
  reading stands where the old one's last did.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import msgspec

from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.obis import Obis
from smgw_emu.core.status import Dialect, PtbStatus, ptb_status
from smgw_emu.core.tariff.terms import Key, Step, Terms
from smgw_emu.core.values import INT64_MAX, Reading

DECIMALS = 3  # TR-03109-1 v1.0 4.3.3 no. 11
_INNER = 6  # Detailspezifikation v2.0: at least 13 + 6 digits
_ROLLOVER_SHARE = 10  # own choice: a fall from the last tenth to the first tenth is a rollover


def round_half_up(value: int, places: int) -> int:
    """Drop ``places`` decimal digits: 0 to 4 down, 5 to 9 up, of the magnitude."""
    unit: int = 10**places
    rounded = (abs(value) + unit // 2) // unit
    return rounded if value >= 0 else -rounded


def divide(value: int, by: int) -> int:
    """Return ``value / by`` rounded as :func:`round_half_up` does; ``by`` is positive."""
    quotient = (2 * abs(value) + by) // (2 * by)
    return quotient if value >= 0 else -quotient


class Total(msgspec.Struct):
    """The sum of one register as last registered; ``milli`` are thousandths of the unit."""

    milli: int
    scaler: int
    unit: int
    capture: int  # ns
    smgw_word: int
    meter_word: int

    @property
    def value(self) -> int:
        """The sum in units of ``10**scaler``."""
        return amount(self.milli, self.scaler)


def amount(milli: int, scaler: int) -> int:
    """Return thousandths as an integer of another scaler (rounded if digits are lost)."""
    if scaler <= -DECIMALS:
        return milli * int(10 ** (-DECIMALS - scaler))
    return round_half_up(milli, scaler + DECIMALS)


class TotalsState(msgspec.Struct):
    """What must survive a power cut. Keys are ``meter/factor/obis`` and ``obis`` in hex."""

    good: int = 0
    """Target of the last registration that counted, in seconds; 0: none."""
    seen: dict[str, int] = msgspec.field(default_factory=dict)
    """Last reading of each meter's register, in millionths."""
    offset: dict[str, int] = msgspec.field(default_factory=dict)
    shift: dict[str, int] = msgspec.field(default_factory=dict)
    totals: dict[str, Total] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Advance:
    """What a registration that counts has brought.

    Attributes:
        amounts: thousandths since the last one that counted, by register; empty at the first.
        continuous: no registration in between was missing or barred.
        seconds: length of the interval.
        notes: events for the log, with their parameters.
    """

    amounts: dict[Obis, int]
    continuous: bool
    seconds: int
    notes: tuple[tuple[str, dict[str, object]], ...] = ()


class _Part:
    """One meter's share of a sum."""

    __slots__ = ("key", "meter", "sign", "where")

    def __init__(self, meter: Meter, where: Key, factor: int, obis: Obis) -> None:
        self.meter = meter
        self.where = where
        self.sign = 1 if factor > 0 else -1
        # a meter that is added in another way counts as another one
        self.key = f"{meter.key}/{factor}/{obis.hex}"


class Totals:
    """The sums of a contract.

    Args:
        terms: the contract.
        state: as stored.
        dialect: of the status words.
        joined: offsets count (all use cases but the reading series, whose daily values are the
            meter's own readings).
    """

    def __init__(
        self, terms: Terms, state: TotalsState, dialect: Dialect, *, joined: bool = True
    ) -> None:
        self._terms = terms
        self.state = state
        self._dialect = dialect
        self._joined = joined
        self._notes: list[tuple[str, dict[str, object]]] = []
        # per counter: meter, where its reading is found, key of the state, factor with sign
        self._parts: dict[Obis, list[_Part]] = {
            obis: [
                _Part(meter, (meter.key, obis), terms.sign(meter) * meter.factor, obis)
                for meter in terms.meters
            ]
            for obis in terms.counters
        }

    def usable(self, step: Step) -> bool:
        """Tell whether every counter of every meter has a value that may be used."""
        readings = step.readings
        for parts in self._parts.values():
            for part in parts:
                reading = readings.get(part.where)
                if reading is None or not may_be_used(reading, self._dialect):
                    return False
        return True

    def advance(self, step: Step, *, unbroken: bool) -> Advance | None:
        """Take a registration; None: it does not count.

        Args:
            step: the registration.
            unbroken: the registration before it counted, and none was missed since.
        """
        if not self.usable(step):
            return None
        self._notes = []
        state = self.state
        sums: dict[Obis, Total] = {}
        for obis in self._terms.counters:
            total = self._add_up(step, obis)
            if total is None:
                return None
            sums[obis] = total
        amounts = {
            obis: total.milli - state.totals[obis.hex].milli
            for obis, total in sums.items()
            if obis.hex in state.totals
        }
        state.totals.update({obis.hex: total for obis, total in sums.items()})
        seconds = step.target.seconds - state.good if state.good else 0
        state.good = step.target.seconds
        return Advance(amounts, unbroken, seconds, tuple(self._notes))

    def _add_up(self, step: Step, obis: Obis) -> Total | None:
        state, parts = self.state, self._parts[obis]
        before = state.totals.get(obis.hex)
        exchanged = self._joined and before is not None and self._exchanged(obis, parts)
        inner = smgw = meter_word = capture = 0
        scaler = 127
        for part in parts:
            reading = step.readings[part.where]
            inner += self._follow(part, reading)
            smgw |= reading.smgw_word
            meter_word |= reading.meter_word
            capture = max(capture, reading.capture.ns)
            scaler = min(scaler, reading.scaler)
        milli = round_half_up(inner, _INNER - DECIMALS)
        if exchanged and before is not None:
            state.shift[obis.hex] = before.milli - milli
            self._notes.append(("meter-exchanged", {"obis": obis}))
        milli += state.shift.get(obis.hex, 0) if self._joined else 0
        scaler = max(scaler, -DECIMALS)
        if before is not None:
            scaler = min(scaler, before.scaler)
        if abs(amount(milli, scaler)) > INT64_MAX:
            return None
        unit = step.readings[parts[0].where].unit
        return Total(milli, scaler, unit, capture, smgw, meter_word)

    def _exchanged(self, obis: Obis, parts: list[_Part]) -> bool:
        """Tell whether another set of meters was added up before; forgets those that left."""
        seen = self.state.seen
        mine = {part.key for part in parts}
        if all(key in seen for key in mine) and len(seen) == len(mine) * len(self._parts):
            return False
        old = {key for key in seen if key.endswith(f"/{obis.hex}")}
        for key in old - mine:
            del seen[key]
            self.state.offset.pop(key, None)
        return bool(old) and old != mine

    def _follow(self, part: _Part, reading: Reading) -> int:
        """Return what a meter adds to the sum, in millionths, going on over rollover and reset."""
        state, key, meter = self.state, part.key, part.meter
        inner = to_inner(reading.value, reading.scaler) * meter.factor
        last = state.seen.get(key)
        state.seen[key] = inner
        if not self._joined:
            return part.sign * inner
        if last is not None and inner < last and not meter.balancing:
            capacity = rollover_capacity(meter, reading.scaler) * meter.factor
            about = {"meter": meter.key, "obis": reading.obis}
            if rolls_over(last, inner, capacity):
                state.offset[key] = state.offset.get(key, 0) + capacity
                self._notes.append(("register-rollover", about))
            else:  # set back: what was counted stays, the new register counts from its value
                state.offset[key] = state.offset.get(key, 0) + last - inner
                self._notes.append(("register-reset", about))
        return part.sign * (inner + state.offset.get(key, 0))


def may_be_used(reading: Reading, dialect: Dialect) -> bool:
    """Tell whether a value may enter a derived register (TR-03109-1 v1.0 4.3.4)."""
    return not reading.repeated and _good(reading.smgw_word, reading.meter_word, dialect)


@lru_cache(maxsize=1024)
def _good(smgw: int, meter: int, dialect: Dialect) -> bool:
    return ptb_status(smgw, meter, dialect) < PtbStatus.CRITICAL_TEMPORARY_ERROR


def to_inner(value: int, scaler: int) -> int:
    """Return ``value * 10**scaler`` in millionths of the unit, rounded if it has more digits."""
    places = scaler + _INNER
    return value * int(10**places) if places >= 0 else round_half_up(value, -places)


def rollover_capacity(meter: Meter, scaler: int) -> int:
    """Return at which value a register begins anew, in millionths; 0: it does not."""
    return to_inner(int(10**meter.digits), scaler) if meter.digits else 0


def rolls_over(last: int, new: int, capacity: int) -> bool:
    """Tell whether a fall of a register is a rollover."""
    return (
        capacity > 0
        and last >= capacity - capacity // _ROLLOVER_SHARE
        and new <= capacity // _ROLLOVER_SHARE
    )
