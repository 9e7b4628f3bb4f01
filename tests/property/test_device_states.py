"""A whole device through triggers, clock jumps, power cuts and repairs, against an oracle from the manual.

The oracle knows what lies wrong with the device (a bit in an image, a cable, a full log, a limit, the time) and
what the manual says of each (D-2.1 to D-2.5); it knows nothing of the program. After every step the device must be in
a state the oracle allows, serve nothing that state forbids and show the lamps of its state.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from pathlib import Path

import msgspec
from fuzz import fuzz
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support import new_gateway, own_profile, scratch, world

from smgw_emu import profiles
from smgw_emu.bench.pki.folder import open_manufacturer
from smgw_emu.core.config import Clock
from smgw_emu.core.instants import DAY, HOUR, MILLISECOND, MINUTE, SECOND
from smgw_emu.core.leds import BootPhase, leds
from smgw_emu.core.rtc import Rtc
from smgw_emu.core.status import Condition
from smgw_emu.core.wan_profiles import Settings
from smgw_emu.gateway import Gateway
from smgw_emu.lab import trials
from smgw_emu.lab.firmware import corrupt, install_firmware
from smgw_emu.transport.clock import VirtualClock, new_event_loop

_TEMPLATE = tempfile.TemporaryDirectory(dir=scratch())
_HOME = Path(_TEMPLATE.name) / "gateway"
LIMITS = """[retention]
log_capacity_kib = 300
"""
EXAMPLES = {"dev": 30, "ci": 60, "soak": 1500}[
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev")
]


def template() -> Path:
    if not _HOME.exists():
        new_gateway(_HOME)
        own_profile(_HOME, LIMITS)
    return _HOME


class Device(RuleBasedStateMachine):
    """The machine of rules; the oracle is in :meth:`expected`."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp(dir=scratch()))
        self.home = self.folder / "gateway"
        shutil.copytree(template(), self.home)
        self.runner = asyncio.Runner(loop_factory=new_event_loop)
        self.runner.run(self.make())
        self.on = True  # mains
        self.alive = True  # the device has not stopped for good or for a loop
        self.bad = {"kernel": False, "rootfs": False, "application": False}
        self.latched = False
        self.joined = self.seen_joined = False
        self.flood = 0
        self.full = self.deviates = False
        self.timeless = False
        self.unexpected = self.stale = False
        self.since_self_test = 0

    async def make(self):
        self.clock = VirtualClock(asyncio.get_running_loop(), world("2026-03-31T10:00:00Z"), 0)
        self.gateway = Gateway(self.home, self.clock)
        await self.gateway.power_on()

    def teardown(self):
        if hasattr(self, "runner"):
            self.runner.run(self.gateway.power_off(orderly=False))
            self.runner.close()
            shutil.rmtree(self.folder)

    def run(self, work):
        return self.runner.run(work)

    # -- the oracle --------------------------------------------------------------------------------

    def booted(self):
        """A start looks at kernel and rootfs (Boot, for good) and at the application (again and again)."""
        if self.bad["kernel"] or self.bad["rootfs"] or self.unexpected:
            self.latched = True
        if not self.bad["application"] and self.stale:
            self.latched = True  # what runs looks at the other partition

    def expected(self):
        if not self.on:
            return "off"
        if self.latched:
            return "boot"
        if not self.alive:
            return "cyclic-restart"
        if self.full or self.deviates:
            return "application"
        if self.seen_joined:
            return "connectivity"
        return "measurement" if self.timeless else "normal"

    def started(self):
        if not self.latched:
            self.booted()
        self.alive = not self.latched and not self.bad["application"]

    # -- what happens --------------------------------------------------------------------------------

    @rule(image=st.sampled_from(["kernel", "rootfs", "application"]))
    def turn_a_bit(self, image):
        corrupt(self.gateway.flash, "a", image)
        self.bad[image] = not self.bad[image]

    @rule()
    def expect_another_version(self):
        self.gateway.flash.change(expected="v9.9.9")
        self.unexpected = True

    @rule()
    def a_partition_has_been_faulty_for_31_days(self):
        since = self.clock.now().ns - 31 * DAY
        self.gateway.flash.change(faulty_since=since, faulty="TEST")
        self.stale = True

    @precondition(lambda self: self.expected() not in {"off", "boot", "cyclic-restart"})
    @rule()
    def clock_found_28_seconds_off(self):
        """What the judgement of a time sample calls (the sample itself: test_secure_states.py)."""
        self.gateway.running.wan.time.on_deviation("28 s")
        self.deviates = True

    @precondition(lambda self: self.expected() not in {"off", "boot", "cyclic-restart"})
    @rule()
    def administrator_synchronises(self):
        async def work():
            self.gateway.running.wan.time.on_commanded()
            await asyncio.sleep(0)
            await self.clock.advance(0)

        self.run(work())
        self.deviates = False

    @rule(joined=st.booleans())
    def cable(self, joined):
        self.gateway.cable.joined = joined
        self.joined = joined

    @precondition(lambda self: self.expected() not in {"off", "boot", "cyclic-restart"})
    @rule(kib=st.sampled_from([0, 1, 1 << 30]))
    def limit(self, kib):
        async def work():
            running = self.gateway.running
            administration = running.device.administration
            old = administration.settings
            new = msgspec.structs.replace(old, value_limit_kib=kib)
            administration.set(new)
            running._settings_changed(old, Settings(**msgspec.structs.asdict(new)))
            await asyncio.sleep(0)
            await self.clock.advance(0)
            return old.value_limit_kib != kib

        changed = self.run(work())
        self.full = kib == 1 or (self.full and not changed)

    @precondition(lambda self: self.expected() not in {"off", "boot", "cyclic-restart"})
    @rule(valid=st.booleans(), offset=st.sampled_from([-3600_000, 0, 500, 86_400_000]))
    def device_time(self, valid, offset):
        async def work():
            self.gateway.adjust_device_clock(offset, None, valid=valid)
            await self.clock.advance(0)

        self.run(work())
        self.timeless = not valid

    @precondition(lambda self: self.expected() not in {"off", "boot", "cyclic-restart"})
    @rule(count=st.sampled_from([10, 300, 2500]))
    def events(self, count):
        written = self.run(trials.burst(self.gateway, trials.EventOrder(count)))
        self.run(asyncio.sleep(0))
        self.flood += written
        if self.gateway.states.state == "boot":
            assert self.flood > 1000, "only a flood fills 300 KiB"
            self.latched, self.alive = True, False
        assert written == count or self.latched

    @rule(step=st.sampled_from([SECOND, 10 * SECOND, MINUTE, HOUR, 25 * HOUR, 2 * DAY]))
    def time_passes(self, step):
        looping = self.expected() == "cyclic-restart"
        self.run(self.clock.advance(min(step, HOUR) if looping else step))
        if looping and step >= MINUTE and not self.latched:
            self.started()  # the loop looks again every 20 s
            if self.alive:
                self.seen_joined = self.joined
        elif self.expected() not in {"off", "boot", "cyclic-restart"} and step >= 25 * HOUR:
            self.seen_joined = self.joined

    @rule(orderly=st.booleans())
    def power_cycle(self, orderly):
        async def work():
            await self.gateway.power_off(orderly=orderly)
            await self.gateway.power_on()
            await self.clock.advance(5 * SECOND)  # past the self-test of the start

        if not self.on:
            return
        self.run(work())
        self.started()
        if self.alive:
            self.seen_joined = self.joined

    @rule(volts=st.sampled_from([0.0, 183.0, 230.0, 300.0]))
    def mains(self, volts):
        async def work():
            await self.gateway.set_supply(volts)
            await self.clock.advance(5 * SECOND)

        was, self.on = self.on, volts == 230.0
        self.run(work())
        if self.on and not was:
            self.started()
            if self.alive:
                self.seen_joined = self.joined

    @precondition(lambda self: self.expected() in {"boot", "cyclic-restart"})
    @rule()
    def workbench(self):
        """The manufacturer writes the device anew."""

        async def work():
            await self.gateway.power_off(orderly=False)
            install_firmware(
                self.home, "conexa-3.0/v3.87", open_manufacturer(self.home / "lab-pki")
            )
            for path in self.home.glob("state.db*"):
                path.unlink()
            await self.gateway.power_on()
            await self.clock.advance(5 * SECOND)

        self.run(work())
        self.bad = dict.fromkeys(self.bad, False)
        self.flood = 0
        self.latched = self.full = self.deviates = False
        self.unexpected = self.stale = False
        self.alive = True
        self.seen_joined = self.joined

    # -- what must hold --------------------------------------------------------------------------------

    @invariant()
    def is_in_a_state_the_manual_allows(self):
        if not hasattr(self, "gateway"):
            return
        gateway, expected = self.gateway, self.expected()
        shown = "off" if gateway.lamps.phase is BootPhase.OFF else str(gateway.states.state)
        assert shown == expected, gateway.cause
        serves = expected in {"normal", "measurement"}
        assert (gateway.han_address is not None) == serves
        assert (gateway.running is not None) == (expected not in {"off", "boot", "cyclic-restart"})
        if gateway.running is not None:
            assert gateway.running.device.metering_on == (not self.full)
            conditions = gateway.running.device.metering.conditions
            assert (Condition.TIME_INVALID in conditions) == (self.timeless or self.deviates)

    @invariant()
    def shows_its_lamps(self):
        if not hasattr(self, "gateway"):
            return
        panel, expected, now = self.gateway.panel, self.expected(), self.clock.now()
        at = [leds(panel.state, now + n * 25 * MILLISECOND, panel.times) for n in range(120)]
        if expected == "off":
            assert not any(any(lamps) for lamps in at)
        elif expected == "boot":
            assert all(len(set(lamps[:4])) == 1 and not any(lamps[4:]) for lamps in at)
            assert {lamps.pwr for lamps in at} == {True, False}
        elif expected == "application":
            turns = sum(a.pwr != b.pwr for a, b in itertools.pairwise(at))
            assert turns >= 58, "50 ms, from the start on"
            assert not any(lit.han for lit in at)
        elif expected == "cyclic-restart":
            assert not any(any(lamps[1:]) for lamps in at)
        else:
            assert all(lamps.han == (expected != "connectivity") for lamps in at)


TestDevice = Device.TestCase
TestDevice.settings = settings(max_examples=EXAMPLES, stateful_step_count=20)


def test_a_clock_set_by_the_lab_after_days_without_time_stays_valid():
    """Found by the machine above: old silence made the time invalid again at once."""
    device = Device()
    device.begin()
    device.time_passes(2 * DAY)
    device.device_time(True, -3600_000)
    device.is_in_a_state_the_manual_allows()
    device.teardown()


@fuzz(b'{"world":1774951200000000000,"device":1774951200000000000,"drift_ppb":0,"valid":true}')
def test_any_octets_in_the_clock_chip_are_a_time_or_none(data):
    """rtc.json: read, or taken for a chip that was never set."""
    path = Path(_TEMPLATE.name) / "rtc.json"
    path.write_bytes(data)
    reading = Rtc(path).power_on(
        world("2026-03-31T10:00:00Z"), Clock(), profiles.load().time, newest=None
    )
    assert reading.clock.read(world("2026-04-30T10:00:00Z")).iso()
