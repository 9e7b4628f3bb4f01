"""Months on a bad bus: readings of wired meters through loss, power cuts, resets and renewals.

A state machine moves a gateway's wired line, with its core, module and store, and two meters on a
simulated bus. What the gateway has taken is compared with what the meters would have shown: nothing
is taken twice, nothing is invented, and when the line is good again the meters are read again.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support import START, FakeKey, world
from wired_lab import PROFILE, SEED, put_keys

from hsm_sim import SecurityModule
from smgw_emu.bench.bus import BusSim, Faults
from smgw_emu.bench.bus.desk import DeskLine, SimClock
from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.bench.meters.wired import make_meters
from smgw_emu.core.config import Gateway, GatewayConfig
from smgw_emu.core.device import Device
from smgw_emu.core.device_clock import DeviceClock
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.obis import ACTIVE_ENERGY_IMPORT
from smgw_emu.core.stations import StationBook
from smgw_emu.core.store import Store
from smgw_emu.core.wan_profiles import LmnProfile
from smgw_emu.lab.provision import deliver
from smgw_emu.wired_line import SessionState
from smgw_emu.wired_line.line import LineParts
from smgw_emu.wired_line.renewal import renew

T0 = world(START)
INTERVAL = 20  # seconds between readings
LATE = PROFILE.lmn_wired.answer_s * SECOND


class Watched(Device):
    """A core that also notes every report it is given."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.reports: list = []

    def on_report(self, at: WorldTime, report) -> None:
        self.reports.append((at, report))
        super().on_report(at, report)


class WiredLife(RuleBasedStateMachine):
    """Whatever happens to line, meters and gateway."""

    @initialize(seed=st.integers(0, 20))
    def begin(self, seed: int) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.meters = make_meters(2, PROFILE, T0, seed=SEED)
        put_keys(self.home, self.meters)
        self.module = SecurityModule(self.home / "hsm")
        deliver(self.module)
        self.sim = BusSim(PROFILE.lmn_bus.baud, T0, Faults(seed=seed))
        for meter in self.meters:
            self.sim.attach(meter)
        self.config = GatewayConfig(
            gateway=Gateway("ETHE0399000001"),
            meter=tuple(Meter(str(m.id), obis=(ACTIVE_ENERGY_IMPORT.hex,)) for m in self.meters),
            lmn=tuple(
                LmnProfile(str(m.id), "LKS1", "TLS", interval_s=INTERVAL) for m in self.meters
            ),
        )
        self.store = Store(":memory:")
        self.node: DeskLine | None = None
        self.seen: list = []
        self.answers = 0
        self.asked = 0
        self.switch_on()
        self.sim.run_until(self.sim.now + 3 * SECOND)

    # -- the gateway ---------------------------------------------------------------------

    @precondition(lambda self: self.node is None)
    @rule()
    def switch_on(self) -> None:
        now = self.sim.now
        self.device = Watched(
            self.config, PROFILE, self.store, FakeKey(), DeviceClock(now), "ab" * 32
        )
        self.device.power_on(now)
        clock = SimClock(now)
        self.book = StationBook(self.device.logbooks, PROFILE.lmn_wired.missing_s)
        parts = LineParts(
            self.device, self.module, self.book, PROFILE, clock, lambda: None, lambda work: work()
        )
        self.node = DeskLine(parts, clock)
        self.sim.attach(self.node)
        self.node.port.start()
        self.sim.collect(self.node)

    @precondition(lambda self: self.node is not None)
    @rule()
    def power_cut(self) -> None:
        assert self.node is not None
        self.node.line.power_cut()
        del self.sim._places[id(self.node)]
        self.seen += self.device.reports
        self.node = None

    # -- the line and the meters -----------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 7, 25, 60]))
    def time_passes(self, seconds: int) -> None:
        self.sim.run_until(self.sim.now + seconds * SECOND)

    @rule(
        lost=st.sampled_from([0, 0, 30_000, 200_000]),
        bits=st.sampled_from([0, 0, 200]),
        piece=st.sampled_from([0, 7]),
        delay=st.sampled_from([0, 20_000_000]),
    )
    def the_line_changes(self, lost: int, bits: int, piece: int, delay: int) -> None:
        faults = self.sim.faults
        faults.lost, faults.bit_errors, faults.piece, faults.delay_ns = lost, bits, piece, delay

    @rule(which=st.integers(0, 1), there=st.booleans())
    def plug(self, which: int, there: bool) -> None:
        self.sim.plug(self.meters[which], there=there)

    @rule(which=st.integers(0, 1))
    def meter_without_power(self, which: int) -> None:
        self.meters[which].power_off()
        self.meters[which].power_on()

    # -- orders ----------------------------------------------------------------------------

    @precondition(lambda self: self.node is not None)
    @rule(which=st.integers(0, 1), what=st.sampled_from(["reset", "renew", "rebuild"]))
    def order(self, which: int, what: str) -> None:
        assert self.node is not None
        line, meter = self.node.line, self.meters[which].id.lower
        session = line.session(meter)
        if session is None:
            return
        if what == "reset":
            line.crypto_reset(meter)
        elif what == "rebuild":
            line.rebuild(meter)
        elif session.state is SessionState.READY:
            self.asked += 1
            renew(line, meter, self._answered)
        self.sim.collect(self.node)

    def _answered(self, _failed: str) -> None:
        self.answers += 1

    # -- what must hold ----------------------------------------------------------------------

    @invariant()
    def nothing_twice_and_nothing_invented(self) -> None:
        if not hasattr(self, "sim"):
            return
        reports = self.seen + (self.device.reports if self.node is not None else [])
        last: dict[str, WorldTime] = {}
        for at, report in reports:
            (value,) = report.values
            assert value.obis == ACTIVE_ENERGY_IMPORT
            number = next(n for n, m in enumerate(self.meters) if m.id.lower == report.meter)
            fresh = ElectricityMeter(report.meter, T0, seed=SEED + number)
            fresh.advance(at + -LATE)
            earliest = fresh.import_reading
            fresh.advance(at)
            # the meter made its answer at most so long before it came through
            assert earliest <= value.value <= fresh.import_reading
            before = last.get(report.meter)
            if before is not None:
                # on the raster, or the first of a session: never the same reading again
                assert at > before
            last[report.meter] = at
        assert self.answers <= self.asked

    @invariant()
    def addresses_are_unique(self) -> None:
        if getattr(self, "node", None) is not None:
            addresses = [s.address for s in self.node.line.stations]
            assert len(set(addresses)) == len(addresses)
            assert self.book.any == bool(addresses)

    def teardown(self) -> None:
        if not hasattr(self, "sim"):
            return
        try:
            self._heal()
        finally:
            self.store.close()
            shutil.rmtree(self.home)

    def _heal(self) -> None:
        """A good line: whatever happened, both meters are read again within minutes."""
        if self.node is None:
            self.switch_on()
        faults = self.sim.faults
        faults.lost = faults.bit_errors = faults.delay_ns = 0
        for meter in self.meters:
            self.sim.plug(meter, there=True)
        assert self.node is not None
        self.sim.run_until(self.sim.now + 60 * SECOND)
        line = self.node.line
        for meter in self.meters:
            # the two may disagree on whether they are paired (a reset whose last answer was lost)
            session = line.session(meter.id.lower)
            assert session is not None
            if session.state is not SessionState.READY and not session.reset_ordered:
                line.crypto_reset(meter.id.lower)
        self.sim.collect(self.node)
        self.sim.run_until(self.sim.now + 400 * SECOND)
        count = len(self.device.reports)
        states = {m.id.lower: line.session(m.id.lower) for m in self.meters}
        assert all(s is not None and s.state is SessionState.READY for s in states.values())
        self.sim.run_until(self.sim.now + 3 * INTERVAL * SECOND)
        taken = [report.meter for _, report in self.device.reports[count:]]
        for meter in self.meters:
            assert taken.count(meter.id.lower) == 3
        self.nothing_twice_and_nothing_invented()
        assert self.answers == self.asked or self.seen


WiredLife.TestCase.settings = settings(
    max_examples=max(10, settings.default.max_examples // 6), stateful_step_count=20
)
TestWiredLife = pytest.mark.req("LMN-N01")(WiredLife.TestCase)
