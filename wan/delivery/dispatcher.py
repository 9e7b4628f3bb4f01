"""What is due to the market, and when (TR-03109-1 v1.0 4.3.6, 3.2.2 WAF5; H10, W15).

Theory of operation. A contract with market participants has dispatch moments, as its use case says:
once a day at its ``capture_time`` of legal local time (TAF 7, 13), or at the end of a billing
period (TAF 1 to 5, 8). Others send at once: in a cycle or on events (TAF 9 to 12, 14, 16), or when
the administrator retrieves a day (TAF 6). A moment is due when the registration window of its last
value and the dispatch delay are over. Then the values since the last dispatch are put into the
outbox, one message per participant, and the mark "dispatched until" moves, in one transaction. So
after an outage every period goes out once, in order; a participant that is added gets values from
then on.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from smgw_emu.core.billing import last_edge, next_edge
from smgw_emu.core.device import Device
from smgw_emu.core.instants import DAY, SECOND, DeviceTime
from smgw_emu.core.legal_time import at_local, billing_day, next_day_start
from smgw_emu.core.outbox import ADMINISTRATOR, Outbox
from smgw_emu.core.status import bit, word_hex
from smgw_emu.core.tariff import use_case
from smgw_emu.core.tariff.stages import ACTIVE_STAGE
from smgw_emu.core.tariff.terms import Terms
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.value_lists import sources_of
from smgw_emu.core.values import Reading
from smgw_emu.core.wan_profiles import WanProfile, need
from wan.delivery.document import VALUE_LIST, Column, Entry, ValueList, write_value_list

_NOT_FOR_BILLING = bit(1)


def next_moment(terms: Terms, after: DeviceTime) -> DeviceTime | None:
    """Return the first dispatch moment of a contract after ``after``; None: it has none."""
    point, cls = terms.point, use_case(terms.point)
    if cls.DISPATCH == "daily":
        return next_day_start(after, terms.daily)
    return next_edge(point, terms.clock, after) if cls.DISPATCH == "period" else None


def last_moment(terms: Terms, now: DeviceTime) -> DeviceTime:
    """Return the last dispatch moment not after ``now``."""
    point, cls = terms.point, use_case(terms.point)
    if cls.DISPATCH == "daily":
        return at_local(billing_day(now, terms.daily), terms.daily)
    return last_edge(point, terms.clock, now)


def delivery_target(point: UsagePoint) -> str:
    """Return the path below a participant's point of contact."""
    return f"/cosem/ldevs/{point.name}.sm/objects/7-{VALUE_LIST}/methods/1"


class Dispatcher:
    """Fills the outbox with values.

    Args:
        device: the core.
        outbox: where messages wait.
        delay_s: after the registration window of the last value.
    """

    def __init__(self, device: Device, outbox: Outbox, delay_s: int) -> None:
        self._device = device
        self._outbox = outbox
        self._delay_s = delay_s
        self._due: dict[tuple[str, str], DeviceTime] = {}
        self._fresh: list[str] = []
        self._fresh_at = DeviceTime(0)
        device.metering.on_send = self.send

    def start(self, now: DeviceTime) -> None:
        """Look up what was dispatched last; also after a change of the configuration."""
        self._due = {}
        for point, receiver in self._assignments():
            until = self._until(point, receiver.name, now)
            moment = self._next(point, until)
            if moment is not None:
                self._due[point.name, receiver.name] = moment

    def _assignments(self) -> Iterable[tuple[UsagePoint, WanProfile]]:
        config = self._device.config
        for point in config.usage_point:
            for name in dict.fromkeys(point.emts):
                receiver = config.emt(name)
                if receiver is not None:
                    yield point, receiver

    def _until(self, point: UsagePoint, receiver: str, now: DeviceTime) -> DeviceTime:
        store = self._device.store
        rows = store.execute(
            "SELECT until FROM dispatched WHERE point = ? AND receiver = ?", (point.name, receiver)
        )
        if rows:
            return DeviceTime.from_seconds(rows[0][0])
        begin = max(point.begin, last_moment(self._terms(point), now))
        self._mark(point, receiver, begin)
        return begin

    def _mark(self, point: UsagePoint, receiver: str, until: DeviceTime) -> None:
        self._device.store.execute(
            "INSERT OR REPLACE INTO dispatched VALUES (?, ?, ?)",
            (point.name, receiver, until.seconds),
        )

    def _next(self, point: UsagePoint, until: DeviceTime) -> DeviceTime | None:
        """Return the end of the next delivery; an ended contract has one last, shorter one."""
        finish = point.finish
        if finish is not None and until >= finish:
            return None
        moment = next_moment(self._terms(point), until)
        return moment if finish is None or moment is None else min(moment, finish)

    def _terms(self, point: UsagePoint) -> Terms:
        return self._device.metering.rules.of(point).terms

    def _ready(self, point: UsagePoint, moment: DeviceTime) -> DeviceTime:
        window = point.period_s * self._device.profile.registration.tolerance_permille // 1000
        window = max([window, *(meter.wait_s for meter in self._terms(point).meters)])
        return moment + (window + self._delay_s) * SECOND

    def next_deadline(self) -> DeviceTime | None:
        """Return when something is due."""
        if self._fresh:
            return self._fresh_at
        points = {point.name: point for point in self._device.config.usage_point}
        return min(
            (self._ready(points[key[0]], moment) for key, moment in self._due.items()),
            default=None,
        )

    def on_deadline(self, now: DeviceTime) -> list[str]:
        """Queue what is due; returns the receivers that have new messages."""
        fresh, self._fresh = self._fresh, []
        for point, receiver in self._assignments():
            key = point.name, receiver.name
            while (moment := self._due.get(key)) is not None and now >= self._ready(point, moment):
                fresh += self._dispatch(point, receiver, moment, now)
                following = self._next(point, moment)
                del self._due[key]
                if following is not None:
                    self._due[key] = following
        return fresh

    def _dispatch(
        self, point: UsagePoint, receiver: WanProfile, moment: DeviceTime, now: DeviceTime
    ) -> list[str]:
        with self._device.store.transaction():
            begin = self._until(point, receiver.name, now)
            readings = self._readings(point, begin, moment)
            self._mark(point, receiver.name, moment)
            return self._queue(point, receiver, readings, now, "due")

    def _readings(
        self, point: UsagePoint, after: DeviceTime, until: DeviceTime
    ) -> list[tuple[str, Reading]]:
        cls = use_case(point)
        found = [
            item
            for database in cls.DELIVERED
            for item in self._lines(point, database, after, until)
        ]
        if point.change_list and "calculated" in cls.DATABASES:
            changes = self._lines(point, "calculated", after, until)
            found += [item for item in changes if item[1].obis == ACTIVE_STAGE]
        return found

    def _lines(
        self, point: UsagePoint, database: str, after: DeviceTime, until: DeviceTime
    ) -> list[tuple[str, Reading]]:
        device = self._device
        found = []
        for source in sources_of(device, point, database):
            begin, end = source.limits(after, until)
            lines = device.store.readings(database, source.owner, source.series, begin, end)
            registers = self._terms(source.point).registers
            found += [
                (source.owner, line)
                for line in lines
                if database != "origin" or line.obis in registers
            ]
        return found

    # -- at once ---------------------------------------------------------------------------

    def send(
        self, point: UsagePoint, values: list[tuple[str, Reading]], reason: str, now: DeviceTime
    ) -> None:
        """Queue values of a cycle or an event, in the transaction of what caused them."""
        for candidate, receiver in self._assignments():
            if candidate.name == point.name:
                self._fresh += self._queue(point, receiver, values, now, reason)
        self._fresh_at = now

    def retrieve(self, point: UsagePoint, day: date, now: DeviceTime) -> int:
        """Queue the daily values of a date (TAF6); returns the messages.

        Each retrieval is in the consumer's log. Raises ConfigError beyond six weeks.
        """
        terms = self._terms(point)
        need("daily" in use_case(point).DATABASES, f"TAF{point.taf} has no daily values")
        target = at_local(day, terms.daily)
        keep = self._device.profile.retention.daily_days
        need(target <= now, "the day has not begun")
        need(target >= now + -keep * DAY, f"daily values are kept for {keep} days")
        values = self._lines(point, "daily", target + -1, target)
        receivers: list[str] = []
        with self._device.store.transaction():
            for candidate, receiver in self._assignments():
                if candidate.name != point.name or not values:
                    continue
                receivers += self._queue(point, receiver, values, now, "retrieved")
                self._device.logbooks.write(
                    "values-retrieved",
                    now,
                    consumers=[point.consumer],
                    subject=point.logical_name,
                    usage_point=point.name,
                    date=day.isoformat(),
                    emt=receiver.name,
                )
        return len(receivers)

    def read_now(self, point: UsagePoint, now: DeviceTime) -> int:
        """Queue the present readings of a contract's meters (GW-45); returns the messages."""
        store = self._device.store
        values = self._device.metering.read_current(point)
        receivers: list[str] = []
        with store.transaction():
            for candidate, receiver in self._assignments():
                if candidate.name == point.name:
                    receivers += self._queue(point, receiver, values, now, "ordered")
        return len(receivers)

    def _queue(
        self,
        point: UsagePoint,
        receiver: WanProfile,
        readings: list[tuple[str, Reading]],
        now: DeviceTime,
        reason: str,
    ) -> list[str]:
        if not readings:
            return []
        ordered = sorted((reading.target, reading.sequence) for _, reading in readings)
        about = {
            "consumer": point.consumer,
            "subject": point.logical_name,
            "emt": receiver.name,
            "count": len(readings),
            "reason": reason,
            "begin": ordered[0][0].iso(),
            "first": ordered[0][1],
            "end": ordered[-1][0].iso(),
            "last": ordered[-1][1],
        }
        body = write_value_list(self._value_list(point, readings))
        # grid data under a pseudonym goes to the GWA, who checks and removes our signature
        grid = bool(point.pseudonym)
        self._outbox.add(
            "forward" if grid else "delivery",
            f"/forward/{receiver.name}" if grid else delivery_target(point),
            body,
            now,
            receiver=ADMINISTRATOR if grid else receiver.name,
            about=about,
        )
        return [ADMINISTRATOR if grid else receiver.name]

    def _value_list(self, point: UsagePoint, readings: list[tuple[str, Reading]]) -> ValueList:
        secret = point.pseudonym
        columns: dict[str, list[Entry]] = {}
        mark = _NOT_FOR_BILLING if point.transparency else 0
        for owner, reading in readings:
            shown = Entry(
                reading.value,
                reading.scaler,
                reading.unit,
                word_hex(reading.smgw_word | mark) + word_hex(reading.meter_word),
                reading.capture,
                b"" if secret else reading.signature or b"",
            )
            columns.setdefault(f"{reading.obis.hex}.{secret or owner}.sm", []).append(shown)
        gateway = secret or self._device.id.lower
        contract = (
            f"{point.logical_name.partition('.')[0]}.{secret}.sm" if secret else point.logical_name
        )
        ordered = tuple(Column(name, tuple(rows)) for name, rows in sorted(columns.items()))
        return ValueList(contract, f"{gateway}.sm", ordered)
