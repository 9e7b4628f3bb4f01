"""A gateway and a radio meter through loss, replays, forgery, power cuts and new keys.

The real reception, core, store and security module; the meter is one of the bench, whose value is known at
any moment. Whatever happens: no counter gives values twice, every stored value is the meter's at that very
hour, targets only rise, and what was stored stays.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from radio_lab import NOW, meter_table, wireless
from support import FakeKey

from hardware.radio import Heard
from hsm_sim import SecurityModule
from hsm_sim.slots import lmn_master_key
from lmn.wmbus import Address, Verdict
from lmn.wmbus.encode import Outline, encode_telegram
from smgw_emu import profiles
from smgw_emu.bench.meters.keys import master_key
from smgw_emu.core.config import parse_config
from smgw_emu.core.device import Device
from smgw_emu.core.device_clock import DeviceClock
from smgw_emu.core.instants import SECOND, DeviceTime
from smgw_emu.core.meter_counter import last_counter, restart_counter
from smgw_emu.core.store import Store
from smgw_emu.radio_line.reception import Reception, ReceptionHooks

HOUR = 3600
WAIT_H = 5
CONFIG = """
[gateway]
id = "ETHE0399000001"
profile = "tr-2025/default"

[[consumer]]
login = "consumer1"
user_id = "consumer1.sm"
"""


class RadioLife(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.home = tempfile.TemporaryDirectory()
        self.meter = wireless("gas", compact=6)
        self.module = SecurityModule(Path(self.home.name) / "hsm")
        self.generation = 0
        self.put_key()
        text = CONFIG + meter_table(self.meter, "period_s = 3600\n", WAIT_H * HOUR)
        self.config = parse_config(text)
        self.store = Store(":memory:")
        self.now = NOW
        self.tape = []
        self.used = set()
        self.kept = {}
        self.boot()

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
            self.home.cleanup()

    def put_key(self):
        self.module.write_file(lmn_master_key(self.meter.id), self.meter.key)

    def boot(self):
        profile = profiles.load("tr-2025/default")
        clock = DeviceClock(self.now, DeviceTime(self.now.ns))
        self.device = Device(self.config, profile, self.store, FakeKey(), clock, "ab" * 32)
        self.device.power_on(self.now)
        hooks = ReceptionHooks(lambda work: work(), lambda _at: None, lambda: None)
        self.reception = Reception(self.device, self.module, profile, Path(), hooks)
        self.reception.reconfigured()

    def counter(self):
        last = last_counter(self.store, self.meter.id.lower())
        return -1 if last is None else last

    def accepted(self):
        return self.reception.inbox.verdicts.get(Verdict.ACCEPTED, 0)

    def hear(self, frame):
        before, accepted = self.counter(), self.accepted()
        self.reception.take(Heard(frame, "bare", self.now, "T", -60), "test")
        assert (self.accepted() > accepted) == (self.counter() != before)
        if self.accepted() > accepted:
            mark = self.generation, self.counter()
            assert mark not in self.used
            assert self.counter() > before
            self.used.add(mark)

    @rule(minutes=st.integers(1, 500))
    def wait(self, minutes):
        end = self.now + minutes * 60 * SECOND
        while (due := self.device.next_deadline()) <= end:
            self.now = max(self.now, due)
            self.device.on_deadline(self.now)
        self.now = end

    @rule()
    def send(self):
        (frame,) = self.meter.frames(self.now)
        self.tape.append(frame)
        self.hear(frame)
        assert self.counter() == self.meter.counter - 1

    @rule()
    def lose(self):
        self.tape += self.meter.frames(self.now)

    @rule(index=st.integers(0, 99))
    def replay_what_was_heard(self, index):
        """Only telegrams heard already: a delayed one is another matter (its times are wrong)."""
        heard = [f for f in self.tape if int.from_bytes(f[18:22], "little") <= self.counter()]
        if heard:
            self.hear(heard[index % len(heard)])

    @rule(index=st.integers(0, 99), at=st.integers(0, 60), change=st.integers(1, 255))
    def forge(self, index, at, change):
        if self.tape:
            bad = bytearray(self.tape[index % len(self.tape)])
            bad[13 + at % (len(bad) - 13)] ^= change
            before = self.counter()
            self.hear(bytes(bad))
            assert self.counter() == before

    @rule(dark=st.integers(0, 300))
    def power_cut(self, dark):
        self.now = self.now + dark * 60 * SECOND
        self.boot()

    @rule()
    def new_key(self):
        """A meter with a new key counts anew; the administrator brings it to the gateway."""
        self.generation += 1
        self.meter.key = master_key(self.generation, "other")
        self.meter.counter = 1
        self.tape = []
        self.put_key()
        restart_counter(self.store, self.meter.id.lower())
        self.reception.reconfigured()

    @invariant()
    def what_is_stored_is_true_and_stays(self):
        if not hasattr(self, "store"):
            return
        key = self.meter.id.lower()
        end = DeviceTime(self.now.ns)
        lines = self.store.readings("origin", key, "3600", DeviceTime(0), end)
        targets = [line.target for line in lines]
        assert targets == sorted(set(targets))
        shown = {line.target: (line.value, line.repeated) for line in lines}
        assert self.kept.items() <= shown.items()
        self.kept = shown
        for line in lines:
            at = type(NOW)(line.capture.ns)
            assert line.value == self.meter.kind.value(at, self.meter.seed)
            assert line.repeated or line.target == line.capture


TestRadioLife = pytest.mark.req("LMN-N05", "L05")(RadioLife.TestCase)
TestRadioLife.settings = settings(deadline=None, stateful_step_count=15)


@pytest.fixture(scope="module")
def reception(tmp_path_factory):
    """A gateway that knows one meter; its reception and the meter."""
    meter = wireless("gas")
    folder = tmp_path_factory.mktemp("hostile")
    module = SecurityModule(folder / "hsm")
    module.write_file(lmn_master_key(meter.id), meter.key)
    config = parse_config(CONFIG + meter_table(meter, "period_s = 3600\n", WAIT_H * HOUR))
    profile = profiles.load("tr-2025/default")
    clock = DeviceClock(NOW, DeviceTime(NOW.ns))
    with contextlib.closing(Store(":memory:")) as store:
        device = Device(config, profile, store, FakeKey(), clock, "ab" * 32)
        device.power_on(NOW)
        hooks = ReceptionHooks(lambda work: work(), lambda _at: None, lambda: None)
        found = Reception(device, module, profile, folder, hooks)
        found.reconfigured()
        yield found, meter


durations = st.builds(
    lambda unit, value, storage: bytes((0x44 if storage else 0x04, 0x74 + unit)) + value,
    st.integers(0, 3),
    st.binary(min_size=4, max_size=4),
    st.booleans(),
)
profile_records = st.builds(
    lambda control, spacing, data: (
        b"\x0c\x13\x01\x00\x00\x00\x0d\x93\x13" + bytes((len(data) + 2, control, spacing)) + data
    ),
    st.integers(0, 255),
    st.one_of(st.integers(0, 255), st.sampled_from([1, 250, 253, 254])),
    st.binary(max_size=90),
)


@pytest.mark.req("LMN-N05")
@settings(deadline=None)
@given(st.lists(st.one_of(durations, profile_records, st.binary(max_size=20)), max_size=3))
@example([b"\x07\x77" + b"\xff" * 7 + b"\x7f", b"\x0c\x13\1\0\0\0\x0d\x93\x13\x04\x71\xfa\1\1"])
@example([b"\x04\x74\0\0\0\0\x0c\x13\1\0\0\0\x0d\x93\x13\x40\x71\xfa" + b"\1" * 62])
@example([b"\x04\x74\0\0\0\0\x0c\x13\1\0\0\0\x0d\x93\x13\x40\x71\xfe" + b"\1" * 62])
def test_whatever_a_known_meter_says_has_a_defined_answer(reception, parts):
    """Authenticated does not mean sane: absurd ages, spacings and profiles."""
    ours, meter = reception
    before = sum(ours.inbox.verdicts.values())
    outline = Outline(meter.address, 7)
    (frame,) = encode_telegram(
        outline, meter.key, b"".join(parts)[:200], counter=meter.counter, access=1
    )
    meter.counter += 1
    assert ours.take(Heard(frame, "bare", NOW, "T"), "test") == "telegram"
    assert sum(ours.inbox.verdicts.values()) == before + 1
    assert {Verdict.ACCEPTED, Verdict.DAMAGED, Verdict.UNKNOWN} >= set(ours.inbox.verdicts)


@pytest.mark.req("LMN-N05")
def test_invented_addresses_do_not_fill_the_log(reception):
    ours, _ = reception
    for number in range(500):
        address = Address.of("STR", f"{number:08d}", 1, 7)
        (frame,) = encode_telegram(
            Outline(address, 0, control=0x46), bytes(16), b"", counter=1, access=1
        )
        ours.take(Heard(frame, "bare", NOW, "T"), "test")
    entries = [e.message for e in ours._device.logbooks.last("system", "", 5000)]
    assert sum("Installationstelegramm" in message for message in entries) <= 6
    assert sum("Unbekannter Funkz" in message for message in entries) <= 6
