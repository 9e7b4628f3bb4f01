"""Contracts over their life: readings, silence, power cuts, clock steps, exchanges, changes.

Whatever happens: what is shown adds up, lines are written once and stay as they were, versions of
profiles follow each other without a gap, states only go ready -> running -> archive.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import FakeKey
from tariff_lab import IMPORT, METER, SECOND_METER, TariffLab, contract

from smgw_emu import profiles
from smgw_emu.core.device import Device
from smgw_emu.core.device_clock import DeviceClock
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import HOUR, MINUTE, DeviceTime, WorldTime
from smgw_emu.core.orders import Orders
from smgw_emu.core.store import Store
from smgw_emu.core.usage_point import DayProfile, Stage, Switch

START = "2026-10-24T20:00:00Z"
ORDER = {"ready": 0, "running": 1, "archive": 2}
STAGES = (Stage(1), Stage(2))
DAYS = (DayProfile(1, (Switch("00:00", 2), Switch("02:30", 1), Switch("06:07:30", 2))),)
POINTS = (
    contract("taf1-1", 1, START, meters=(METER, SECOND_METER)),
    contract("taf2-1", 2, START, stages=STAGES, day_profiles=DAYS, week=(1,) * 7),
    contract("taf3-1", 3, START, stages=(Stage(1), Stage(2, threshold=2000))),
    contract("taf4-1", 4, START, stages=(Stage(1, quota=3000), Stage(2)), billing_period="1D"),
    contract("taf5-1", 5, START, stages=STAGES, first_stage=1),
    contract("taf7-1", 7, START),
)
STAGED = ("taf2-1", "taf3-1", "taf4-1", "taf5-1")


class TariffLife(RuleBasedStateMachine):
    """One gateway, two meters, six contracts."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()

    @initialize()
    def begin(self):
        self.lab = TariffLab(*POINTS, start="2026-10-24T19:59:00Z")
        self.start_device()
        self.readings = {METER: 10_000, SECOND_METER: 70_000}
        self.seen: dict[tuple[str, str, str, str], tuple] = {}
        self.states: dict[str, int] = {}

    def start_device(self):
        store = Store(Path(self.folder.name) / "state.db")
        clock = DeviceClock(self.lab.now)
        profile = profiles.load()
        self.store = store
        self.lab.device = Device(self.lab.config, profile, store, FakeKey(), clock, "ab" * 32)
        self.lab.device.power_on(self.lab.now)

    @rule(hours=st.integers(1, 30), used=st.integers(0, 2000), every=st.sampled_from([15, 30, 5]))
    def meters_report(self, hours, used, every):
        """Values at each quarter hour, or only at each half hour."""
        end = self.lab.now + min(hours, 30) * HOUR
        step = every * MINUTE
        at = WorldTime((self.lab.now.ns // step + 1) * step)
        while at <= end:
            for meter in (METER, SECOND_METER):
                self.readings[meter] += used * every // 15
                self.lab.feed(at, self.readings[meter], meter=meter)
            at = at + step

    @rule(hours=st.integers(1, 40))
    def silence(self, hours):
        self.lab.until(self.lab.now + hours * HOUR)

    @rule(meter=st.sampled_from([METER, SECOND_METER]), value=st.integers(0, 10_000))
    def reset(self, meter, value):
        self.readings[meter] = value

    @rule(hours=st.integers(0, 30))
    def power_cut(self, hours):
        """No farewell; the store is what it was after the last transaction."""
        self.store.close()
        self.lab.now = self.lab.now + hours * HOUR
        self.start_device()

    @rule(minutes=st.integers(-120, 120), valid=st.booleans())
    def clock_step(self, minutes, valid):
        device, now = self.lab.device, self.lab.now
        device.set_clock(now, device.now(now) + minutes * MINUTE, valid=valid)

    @rule(name=st.sampled_from(["taf1-1", "taf2-1", "taf7-1"]))
    def exchange(self, name):
        """A contract goes over to the other meter."""
        point = self.lab.point(name)
        if len(point.meters) == 2:
            return
        other = SECOND_METER if point.keys == (METER.lower(),) else METER
        self.change(msgspec.structs.replace(point, meters=(other,)))

    @rule(quota=st.integers(1, 9000))
    def new_quota(self, quota):
        self.change(
            msgspec.structs.replace(
                self.lab.point("taf4-1"), stages=(Stage(1, quota=quota), Stage(2))
            )
        )

    @rule(name=st.sampled_from(STAGED), hours=st.integers(0, 20))
    def end(self, name, hours):
        point, now = self.lab.point(name), self.lab.device.now(self.lab.now)
        if not point.end and now > point.begin:
            self.change(msgspec.structs.replace(point, end=(now + (hours * 60 + 1) * MINUTE).iso()))

    def change(self, point):
        points = tuple(
            point if p.name == point.name else p for p in self.lab.device.config.usage_point
        )
        self.lab.change(*points)
        self.lab.config = self.lab.device.config

    @rule(stage=st.sampled_from([1, 2]), minutes=st.integers(0, 600), life=st.integers(0, 600))
    def instruct(self, stage, minutes, life):
        now = self.lab.device.now(self.lab.now)
        at = now + minutes * MINUTE
        try:
            Orders(self.lab.device).switch(
                self.lab.point("taf5-1"), stage, at, at + life * MINUTE, now
            )
        except ConfigError:
            return  # the contract is over, or has not begun

    @invariant()
    def stages_add_up(self):
        for name in STAGED:
            for database in ("calculated", "derived", "daily"):
                sums: dict[str, dict[str, int]] = {}
                for line in self.lab.lines(name, database):
                    sums.setdefault(line.target.iso(), {})[line.obis.hex] = line.value
                for target, line in sums.items():
                    parts = [v for code, v in line.items()
                             if code.startswith("01000108") and code != IMPORT]  # fmt: skip
                    assert not parts or line[IMPORT] == sum(parts), (name, database, target)

    @invariant()
    def lines_stay_as_they_were(self):
        """Nothing acknowledged is lost or changed: a line is written once."""
        rows = self.store.execute(
            "SELECT c.database, c.owner, c.series, hex(c.obis), r.target, r.sequence, r.value,"
            " r.smgw_word, r.signature FROM reading r JOIN channel c ON c.id = r.channel"
        )
        now = {tuple(row[:5]): tuple(row[5:]) for row in rows}
        for key, line in self.seen.items():
            if key[0] != "daily":  # six weeks
                assert now.get(key) == line, key
        self.seen = now

    @invariant()
    def versions_follow_each_other(self):
        history = self.lab.device.history
        for point in self.lab.device.config.usage_point:
            versions = history.versions("usage-point", point.name)
            assert [v.number for v in versions] == list(range(1, len(versions) + 1))
            assert [v.ended is None for v in versions] == [False] * (len(versions) - 1) + [True]
            assert msgspec.json.decode(versions[-1].body, type=type(point)) == point

    @invariant()
    def views_can_be_read(self):
        view, now = self.lab.view(), self.lab.device.now(self.lab.now)
        for point in view.usage_points():
            assert point.state(now) in ORDER
            for database in view.databases(point):
                lines = view.last_readings(point, database)
                assert all((line.signature is None) == line.repeated for line in lines)

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
        self.folder.cleanup()


TestTariffLife = TariffLife.TestCase
TestTariffLife.settings = settings(
    max_examples=max(10, settings().max_examples // 10), stateful_step_count=12
)


def test_a_power_cut_at_every_registration_changes_no_amount(tmp_path):
    """The state of a rule set is stored with its lines: a run with cuts equals one without."""
    outcomes = []
    for cut in (False, True):
        lab = TariffLab(*POINTS, start="2026-10-24T19:59:00Z")
        path = tmp_path / f"{cut}.db"
        profile = profiles.load()
        store = Store(path)
        lab.device = Device(lab.config, profile, store, FakeKey(), DeviceClock(lab.now), "ab" * 32)
        lab.device.power_on(lab.now)
        for number in range(120):
            at = WorldTime(DeviceTime.from_seconds(1_792_872_000).ns + number * 15 * MINUTE)
            for meter in (METER, SECOND_METER):
                lab.feed(at, 1000 + 700 * number, meter=meter)
            if cut and number % 3:
                store.close()
                store = Store(path)
                now = lab.now + MINUTE
                lab.device = Device(
                    lab.config, profile, store, FakeKey(), DeviceClock(now), "ab" * 32
                )
                lab.device.power_on(now)
                lab.now = now
        shown = {
            (name, database, line.obis.hex, line.target.iso()): line.value
            for name in ("taf1-1", "taf2-1", "taf3-1", "taf4-1", "taf5-1", "taf7-1")
            for database in lab.view().databases(lab.point(name))
            for line in lab.lines(name, database)
        }
        outcomes.append(shown)
        store.close()
    assert outcomes[0] == outcomes[1]
    assert any(key[1] == "calculated" for key in outcomes[0])
