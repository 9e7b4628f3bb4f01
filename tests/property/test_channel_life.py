"""The life of a WAN channel against a plain model, and the outbox against a list (T40, WAN-50)."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support import START, world

from smgw_emu.core.instants import SECOND, DeviceTime
from smgw_emu.core.outbox import Outbox
from smgw_emu.core.store import Store
from smgw_emu.core.wan_profiles import WanProfile
from smgw_emu.profiles import load
from wan.channel import Channel, ChannelState, Connect, GaveUp, HangUp

RULES = load().wan


class ChannelLife(RuleBasedStateMachine):
    """Every order of events; the model counts failures and knows what may happen."""

    @initialize(
        addresses=st.integers(1, 3),
        attempts=st.integers(0, 3),
        wait=st.integers(0, 20),
        keep=st.booleans(),
    )
    def begin(self, addresses, attempts, wait, keep):
        self.profile = WanProfile(
            "p", "INFO-REPORT", "EMT", tuple(f"https://127.0.0.{n}:1/x" for n in range(1, addresses + 1)),
            b"x", keepalive=keep, attempts=attempts, wait_s=wait,
        )  # fmt: skip
        self.channel = Channel(self.profile, RULES)
        self.now = world(START)
        self.tried = []
        self.connected = self.wanted = False
        self.in_round = 0
        self.opened_at = None

    def take(self, effects):
        for effect in effects:
            if isinstance(effect, Connect):
                assert not self.connected and self.channel.state is ChannelState.CONNECTING
                self.tried.append(str(effect.address))
            elif isinstance(effect, HangUp):
                self.connected = False
                self.tried = []
            elif isinstance(effect, GaveUp):
                assert effect.attempts == self.profile.attempts + 1
        return effects

    @rule()
    def want(self):
        was = self.channel.state
        effects = self.take(self.channel.want(self.now))
        self.wanted = True
        if was in {ChannelState.CLOSED, ChannelState.PAUSING}:
            assert effects[0].address == self.profile.endpoints()[0]
            self.tried = self.tried[-1:]
            self.in_round = 0
        else:
            assert not effects, "a second channel is never opened (3.2.5.4 no. 3)"

    @precondition(lambda self: self.channel.state is ChannelState.CONNECTING)
    @rule()
    def fail(self):
        effects = self.take(self.channel.failed(self.now, "refused"))
        if len(self.tried) <= len(self.profile.addresses) and any(
            isinstance(e, Connect) for e in effects
        ):
            assert self.tried[-1] == self.profile.addresses[len(self.tried) - 1]
            return
        self.tried = []
        self.in_round += 1
        gave_up = any(isinstance(e, GaveUp) for e in effects)
        assert gave_up == (self.in_round == self.profile.attempts + 1)
        if gave_up:
            self.in_round = 0
            assert self.channel.state is (
                ChannelState.PAUSING if self.wanted else ChannelState.CLOSED
            )
        else:
            assert self.channel.state is ChannelState.PAUSING
            assert self.channel.next_deadline() == self.now + self.profile.wait_s * SECOND

    @precondition(lambda self: self.channel.state is ChannelState.CONNECTING)
    @rule()
    def establish(self):
        self.take(self.channel.established(self.now))
        self.connected, self.tried, self.in_round = True, [], 0
        self.opened_at = self.now
        assert self.channel.state is ChannelState.OPEN

    @precondition(lambda self: self.connected)
    @rule()
    def end(self):
        self.connected = False
        self.take(self.channel.ended(self.now))
        self.wanted = self.wanted and self.profile.keepalive
        if not self.wanted:
            assert self.channel.state is ChannelState.CLOSED
        elif self.now - self.opened_at < max(1, self.profile.wait_s) * SECOND:
            assert self.channel.state is ChannelState.PAUSING, "no calling in a loop"
        else:
            assert self.channel.state is ChannelState.CONNECTING

    @rule()
    def release(self):
        was = self.channel.state
        self.take(self.channel.release())
        if self.profile.keepalive:
            assert self.channel.state is was
        else:
            self.wanted = False
            assert self.channel.state is ChannelState.CLOSED

    @rule()
    def drop(self):
        self.take(self.channel.drop())
        self.wanted = self.connected = False
        assert self.channel.state is ChannelState.CLOSED

    @rule(seconds=st.integers(0, 1000))
    def wait(self, seconds):
        self.now += seconds * SECOND
        due = self.channel.next_deadline()
        effects = self.take(self.channel.on_deadline(self.now))
        if due is not None and self.now >= due:
            assert isinstance(effects[0], Connect)
            self.tried = self.tried[-1:]
        else:
            assert not effects

    @invariant()
    def one_connection_at_most_and_no_pause_beyond_the_limit(self):
        if not hasattr(self, "channel"):
            return
        assert self.connected == (self.channel.state is ChannelState.OPEN)
        due = self.channel.next_deadline()
        if due is not None:
            assert due - self.now <= max(RULES.retry_max_s, self.profile.wait_s, 1) * SECOND
        assert self.channel.wanted == self.wanted


TestChannelLife = ChannelLife.TestCase


class OutboxLife(RuleBasedStateMachine):
    """Messages are added, attempted, acknowledged; transactions are lost; the device restarts."""

    def __init__(self):
        super().__init__()
        self.store = Store(":memory:")
        self.count = 0
        self.outbox = Outbox(self.store, self._random)
        self.model: dict[str, list[tuple[str, bytes]]] = {"": [], "a": [], "b": []}
        self.seen: set[str] = set()

    def _random(self, octets):
        self.count += 1
        return self.count.to_bytes(octets, "big")

    @rule(receiver=st.sampled_from(["", "a", "b"]), body=st.binary(max_size=5))
    def add(self, receiver, body):
        name = self.outbox.add("delivery", "/x", body, DeviceTime(0), receiver=receiver)
        assert name not in self.seen, "an id is never used twice"
        self.seen.add(name)
        self.model[receiver].append((name, body))

    @rule(receiver=st.sampled_from(["", "a", "b"]))
    def add_in_a_transaction_that_is_lost(self, receiver):
        try:
            with self.store.transaction():
                self.seen.add(
                    self.outbox.add("delivery", "/x", b"", DeviceTime(0), receiver=receiver)
                )
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass

    @rule(receiver=st.sampled_from(["", "a", "b"]), good=st.booleans())
    def send(self, receiver, good):
        message = self.outbox.first(receiver)
        assert (message is None) == (not self.model[receiver])
        if message is None:
            return
        assert (message.id, message.body) == self.model[receiver][0], "in order, under its old id"
        self.outbox.attempted(message)
        if good:
            self.outbox.acknowledged(message)
            self.model[receiver].pop(0)

    @rule()
    def restart(self):
        self.outbox = Outbox(self.store, self._random)

    @rule(receiver=st.sampled_from(["a", "b"]))
    def drop(self, receiver):
        assert self.outbox.drop(receiver) == len(self.model[receiver])
        self.model[receiver] = []

    @invariant()
    def nothing_is_lost(self):
        for receiver, waiting in self.model.items():
            assert self.outbox.count(receiver) == len(waiting)
        assert set(self.outbox.receivers()) == {r for r, waiting in self.model.items() if waiting}

    def teardown(self):
        self.store.close()


TestOutboxLife = OutboxLife.TestCase


def test_the_back_off_doubles_up_to_its_limit():
    """W07, W15: rounds of a wanted channel come ever more rarely, never not at all."""
    profile = WanProfile(
        "p", "INFO-REPORT", "EMT", ("https://127.0.0.1:1",), b"x", attempts=0, wait_s=1
    )
    rules = msgspec.structs.replace(RULES, retry_s=30, retry_max_s=200)
    channel, now, pauses = Channel(profile, rules), world(START), []
    channel.want(now)
    for _ in range(6):
        channel.failed(now, "refused")
        due = channel.next_deadline()
        pauses.append((due - now) // SECOND)
        now = due
        channel.on_deadline(now)
    assert pauses == [30, 60, 120, 200, 200, 200]
