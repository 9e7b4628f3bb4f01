"""Channels through opens, ends, revocations, secure states, clock jumps and power cuts.

The model knows profiles, certificates and who has opened what; it knows nothing of the program. After every step
exactly the channels stand that the model allows, and what one end sends arrives at its own other end and nowhere
else. The two ends are the standard library's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
import tempfile
from pathlib import Path

from cls_lab import Emt, SocksEnd, put
from fuzz import fuzz
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support import START, new_gateway, scratch, world

from cls_proxy.life import TABLE, Action, Input, Life, State, steps
from secure_state.machine import Cause, Exit
from smgw_emu.bench.pki import Role, TestPki
from smgw_emu.bench.pki.cls import fingerprint, issue_cls_key
from smgw_emu.core.cls_profiles import ClsProfile, ProxyProfile
from smgw_emu.core.instants import HOUR, DeviceTime
from smgw_emu.core.wan_profiles import WanProfile
from smgw_emu.gateway import Gateway
from smgw_emu.transport.clock import VirtualClock, new_event_loop

_TEMPLATE = tempfile.TemporaryDirectory(dir=scratch())
_HOME = Path(_TEMPLATE.name) / "gateway"
EXAMPLES = {"dev": 12, "ci": 40, "soak": 1000}[
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev")
]
NOW = world(START).datetime()
PKI = TestPki(NOW)
EMTS = {name: PKI.participant(Role.EMT, name).tls for name in ("aemt1", "aemt2")}
BOXES = {name: issue_cls_key(name, NOW) for name in ("box1", "box2")}
# profile -> CLS, EMT, server name
PROFILES = {
    "p11": ("box1", "aemt1", "one"),
    "p12": ("box1", "aemt2", "two"),
    "p21": ("box2", "aemt1", "one"),
}
profiles_ = st.sampled_from(sorted(PROFILES))
boxes = st.sampled_from(sorted(BOXES))


class Open:
    """A channel as the model sees it: its ends, and when it must be over by age."""

    def __init__(self, profile, end, place, began):
        self.profile = profile
        self.end = end
        self.place = place  # index of the EMT's connection
        self.began = began
        self.up = self.down = b""


class Channels(RuleBasedStateMachine):
    """The machine."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp(dir=scratch()))
        self.home = self.folder / "gateway"
        if not _HOME.exists():
            new_gateway(_HOME)
        shutil.copytree(_HOME, self.home)
        self.runner = asyncio.Runner(loop_factory=new_event_loop)
        self.there = dict.fromkeys(PROFILES, True)
        self.granted = dict.fromkeys(BOXES, True)
        self.forbidden = False
        self.on = True
        self.open: list[Open] = []
        self.ends: list[SocksEnd] = []
        self.count = 0
        self.runner.run(self.make())

    async def make(self):
        self.clock = VirtualClock(asyncio.get_running_loop(), world(START), 0)
        self.emts = {name: Lines(who, echo=False) for name, who in EMTS.items()}
        self.ports = {name: await emt.start() for name, emt in self.emts.items()}
        self.gateway = Gateway(self.home, self.clock)
        await self.gateway.power_on()
        for name, who in EMTS.items():
            place = (f"https://127.0.0.1:{self.ports[name]}",)
            self.put("wan", WanProfile(name, "PROXY", "EMT", place, who.certificate_der))
        for name in BOXES:
            self.put_box(name)
        for name in PROFILES:
            self.put_profile(name)
        await self.settle()

    def teardown(self):
        if not hasattr(self, "runner"):
            return

        async def work():
            for end in self.ends:
                end.abort()
            for emt in self.emts.values():
                await emt.stop()
            await self.gateway.power_off(orderly=False)
            await asyncio.sleep(0)

        self.runner.run(work())
        self.runner.close()
        shutil.rmtree(self.folder)

    # -- what is configured ----------------------------------------------------------------------

    def put(self, kind, record):
        put(self.gateway, kind, record)

    def put_box(self, name):
        good = (fingerprint(BOXES[name]),) if self.granted[name] else ()
        self.put("cls", ClsProfile(name, good))

    def put_profile(self, name):
        cls, emt, server = PROFILES[name]
        self.put("proxy", ProxyProfile(name, cls, emt, server_name=server))

    def allowed(self, profile):
        box = PROFILES[profile][0]
        return self.on and not self.forbidden and self.there[profile] and self.granted[box]

    async def settle(self):
        """Let octets move; time stands still."""
        for _ in range(400):
            line = self.gateway.running.cls if self.gateway.running else None
            states = self.standing()
            quiet = line is None or not line.visitors
            arrived = all(
                self.emts[PROFILES[c.profile][1]].lines[c.place] == c.up for c in self.open
            )
            wanted = self.on and not self.forbidden and any(self.there.values())
            door = line is None or bool(line.doors.addresses) == wanted
            if quiet and door and arrived and states == sorted(c.profile for c in self.open):
                return
            await asyncio.sleep(0.001)

    def standing(self):
        """Profiles of the channels that pass octets on; one that is closing passes none."""
        running = self.gateway.running
        channels = running.cls.channels if running else []
        return sorted(c.grant.proxy.name for c in channels if c.standing)

    def drop(self, lost):
        """The model's channels that end now."""
        self.open = [channel for channel in self.open if not lost(channel)]

    # -- steps -----------------------------------------------------------------------------------

    @rule(box=boxes, name=st.sampled_from(["one", "two", "three"]))
    def ask(self, box, name):
        """A CLS asks under a name; it gets what is configured for it, or nothing."""
        found = [p for p, (c, _, server) in PROFILES.items() if (c, server) == (box, name)]
        good = bool(found) and self.allowed(found[0])

        async def work():
            end = SocksEnd(BOXES[box])
            self.ends.append(end)
            if self.gateway.running is None:
                return
            place = self.gateway.running.cls.doors.addresses.get("socks")
            if place is None:
                assert not good
                return
            await end.dial(place)
            assert await end.greet() == b"\x05\x06"
            try:
                await end.handshake()
                reply = await end.connect(name)
            except (ConnectionError, ssl.SSLError):
                reply = -1
            assert (reply == 0) == good
            if good:
                emt = self.emts[PROFILES[found[0]][1]]
                self.open.append(Open(found[0], end, len(emt.lines) - 1, self.clock.now()))
            await self.settle()

        self.runner.run(work())

    @precondition(lambda self: self.open)
    @rule(data=st.data(), size=st.integers(1, 40_000), up=st.booleans())
    def send(self, data, size, up):
        channel = data.draw(st.sampled_from(self.open))
        self.count += 1
        text = (f"{self.count}:".encode() * size)[:size]

        async def work():
            if up:
                channel.end.send(text)
                channel.up += text
                await self.settle()
            else:
                self.emts[PROFILES[channel.profile][1]].writers[channel.place].write(text)
                assert await asyncio.wait_for(channel.end.exactly(size), 10) == text

        self.runner.run(work())

    @precondition(lambda self: self.open)
    @rule(data=st.data(), who=st.sampled_from(["cls", "emt"]), rude=st.booleans())
    def end(self, data, who, rude):
        channel = data.draw(st.sampled_from(self.open))

        async def work():
            writer = self.emts[PROFILES[channel.profile][1]].writers[channel.place]
            if who == "emt" and rude:
                writer.transport.abort()
            elif who == "emt":
                writer.close()
            elif rude:
                channel.end.abort()
            else:
                channel.end.close()
            self.open.remove(channel)
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                assert await asyncio.wait_for(channel.end.recv(), 10) == b""
                channel.end.close()
            await self.settle()

        self.runner.run(work())

    @precondition(lambda self: self.on)
    @rule(box=boxes)
    def revoke_or_grant(self, box):
        self.granted[box] = not self.granted[box]
        self.drop(lambda c: PROFILES[c.profile][0] == box and not self.granted[box])
        self.run_step(lambda: self.put_box(box))

    @precondition(lambda self: self.on)
    @rule(profile=profiles_)
    def remove_or_restore(self, profile):
        self.there[profile] = not self.there[profile]
        self.drop(lambda c: c.profile == profile and not self.there[profile])

        def work():
            if self.there[profile]:
                self.put_profile(profile)
            else:
                tree = self.gateway.running.wan.tree
                tree.delete_ldev(f"{profile}.sm")

        self.run_step(work)

    @precondition(lambda self: self.on)
    @rule()
    def enter_or_leave_a_secure_state(self):
        self.forbidden = not self.forbidden
        if self.forbidden:
            self.open = []
            self.run_step(lambda: self.gateway._enter(Cause.TIME_DEVIATION, "test"))
        else:
            watch = self.gateway.running.watch
            self.run_step(lambda: watch.leave(Cause.TIME_DEVIATION, Exit.ADMINISTRATOR))

    @rule(hours=st.integers(1, 60))
    def time_passes(self, hours):
        """48 h are the longest session; certificates live longer."""
        end = self.clock.now() + hours * HOUR
        self.drop(lambda c: end - c.began >= 48 * HOUR)

        async def work():
            closing = asyncio.ensure_future(self.clock.advance(hours * HOUR))
            for end in self.ends:
                if all(channel.end is not end for channel in self.open):
                    end.abort()
            await closing
            await self.settle()

        self.runner.run(work())

    @precondition(lambda self: self.on)
    @rule(years=st.sampled_from([-1, 1, 8]))
    def the_clock_is_set(self, years):
        """A clock beyond the end of the certificates ends what stands, and comes back."""
        running = self.gateway.running
        device = running.device
        if years == 8:
            self.open = []

        def work():
            now = self.clock.now()
            there = device.clock.read(now)
            device.clock.set(now, DeviceTime(there.ns + years * 365 * 24 * HOUR), valid=True)
            running.time_adjusted()

        def back():
            device.clock.set(self.clock.now(), DeviceTime(self.clock.now().ns), valid=True)
            running.time_adjusted()

        self.run_step(work)
        self.run_step(back)

    @rule(orderly=st.booleans())
    def power(self, orderly):
        """What is off has no channel; what comes back has none either, but the same profiles."""
        self.on = not self.on
        self.open = []

        async def work():
            if self.on:
                await self.gateway.power_on()
                if self.forbidden:
                    assert Cause.TIME_DEVIATION in self.gateway.states.held
            else:
                await self.gateway.power_off(orderly=orderly)
            await self.settle()

        self.runner.run(work())

    def run_step(self, step):
        async def work():
            step()
            await asyncio.sleep(0)
            await self.settle()

        self.runner.run(work())

    # -- what must hold ----------------------------------------------------------------------------

    @invariant()
    def exactly_the_allowed_channels_stand(self):
        if not hasattr(self, "runner"):
            return
        assert self.standing() == sorted(channel.profile for channel in self.open)
        assert all(self.allowed(channel.profile) for channel in self.open)

    @invariant()
    def no_octet_is_anywhere_else(self):
        if not hasattr(self, "runner"):
            return
        for name, emt in self.emts.items():
            mine = {c.place: c.up for c in self.open if PROFILES[c.profile][1] == name}
            for place, got in mine.items():
                assert emt.lines[place] == got


class Lines(Emt):
    """An EMT that keeps what came apart by connection."""

    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self.lines: list[bytes] = []

    async def _serve(self, reader, writer):
        mine = len(self.lines)
        self.lines.append(b"")
        self.writers.append(writer)
        with contextlib.suppress(OSError, ssl.SSLError):
            while data := await reader.read(65_536):
                self.lines[mine] += data
        writer.close()


TestChannels = Channels.TestCase
TestChannels.settings = settings(max_examples=EXAMPLES, stateful_step_count=15, deadline=None)


# -- the table -------------------------------------------------------------------------------------


@fuzz()
def test_a_life_ends_and_closes_what_it_opened(data):
    """Any inputs: a leg is closed or dropped only if it was opened, and nothing follows the end."""
    scenario = ("HKS3", "HKS4", "HKS5")[data[0] % 3] if data else "HKS3"
    life = Life(scenario)
    opened = {"HAN"} if scenario == "HKS3" else set()
    for octet in data[1:]:
        event = list(Input)[octet % len(Input)]
        was = life.state
        actions = life.take(event)
        if was is State.OVER:
            assert actions == ()
        for action in actions:
            leg = "HAN" if "HAN" in action else "WAN"
            if action in {Action.OPEN_HAN, Action.OPEN_WAN}:
                opened.add(leg)
            elif action in {Action.CLOSE_HAN, Action.CLOSE_WAN, Action.DROP_HAN, Action.DROP_WAN}:
                assert leg in opened


def test_every_life_can_end():
    """From every state of every scenario a way leads to the end."""
    for scenario, table in TABLE.items():
        states = {state for state, _ in table} | {step[0] for step in table.values()}
        ending = {State.OVER}
        while True:
            more = {state for (state, _), (after, _) in table.items() if after in ending} - ending
            if not more:
                break
            ending |= more
        assert ending == states, scenario
    assert {scenario for scenario, *_ in steps()} == {"HKS3", "HKS4", "HKS5"}
