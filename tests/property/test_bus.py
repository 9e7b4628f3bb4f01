"""Addresses, slots and turns on a simulated line (LMN-03, LMN-N01, L02, L13)."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import START, world
from wired_lab import PROFILE, RULES, PrimaryNode, bus_with, rack_of

from lmn.bus import Bus, Found, FromStation, Lost, Participant, Record, Trouble, TroubleKind
from lmn.bus.records import decode_records, encode_records
from lmn.hdlc import Frame, Kind, SecondaryLink, decode_frame, encode_frame
from lmn.hdlc.frame import control
from lmn.hdlc.primary import Arrived, Opened
from smgw_emu.bench.bus import BusSim, Faults
from smgw_emu.core.instants import MILLISECOND, SECOND

T0 = world(START)
ROUND = 31 * SECOND  # one allocation and one check


def names(primary: PrimaryNode) -> set[str]:
    return {s.sensor.hex() for s in primary.bus.stations}


def ids(meters) -> set[str]:
    return {m.id.server_id.hex() for m in meters}


@pytest.mark.req("LMN-03")
@settings(max_examples=20)
@given(st.integers(1, 20), st.integers(0, 1000))
def test_every_meter_gets_an_address_of_its_own(count, seed):
    """REQ.TLSHDLC.SMGW.30: also where slots or addresses collide at first."""
    meters = rack_of(count, T0)
    for number, meter in enumerate(meters):
        meter.place._chance = random.Random(f"{seed}:{number}")
    sim, primary = bus_with(meters)
    sim.run_until(T0 + 10 * SECOND)
    sim.run_until(T0 + 3 * ROUND)
    assert names(primary) == ids(meters)
    addresses = [s.address for s in primary.bus.stations]
    assert len(set(addresses)) == count
    assert all(3 <= address <= 126 for address in addresses)
    assert {m.place.address for m in meters} == set(addresses)


@pytest.mark.req("LMN-N01")
def test_sixty_three_meters_share_a_bus():
    """0..63 records fit one UI frame; the list fills up over a few allocations."""
    meters = rack_of(63, T0)
    sim, primary = bus_with(meters)
    sim.run_until(T0 + 4 * ROUND)
    assert names(primary) == ids(meters)
    sim.run_until(T0 + 6 * ROUND)  # and all of them stay through checks
    assert names(primary) == ids(meters)


def test_a_64th_meter_waits_outside():
    meters = rack_of(64, T0)
    sim, primary = bus_with(meters)
    sim.run_until(T0 + 6 * ROUND)
    assert len(primary.bus.stations) == 63
    texts = {e.detail for _, e in primary.events if isinstance(e, Trouble)}
    assert any("more than 63" in text for text in texts)


@pytest.mark.req("L01")
def test_hot_plug_and_unplug():
    """A silent meter is dropped by the next check, a new one found by the next allocation."""
    meters = rack_of(3, T0)
    sim, primary = bus_with(meters)
    sim.run_until(T0 + ROUND)
    sim.plug(meters[1], there=False)
    sim.run_until(T0 + 3 * ROUND)
    assert names(primary) == ids([meters[0], meters[2]])
    (lost,) = [e for _, e in primary.events if isinstance(e, Lost)]
    assert lost.reason == "silent"
    sim.plug(meters[1], there=True)
    sim.run_until(T0 + 5 * ROUND)
    assert names(primary) == ids(meters)


def test_a_meter_without_power_comes_back_with_a_new_address():
    meters = rack_of(2, T0)
    sim, primary = bus_with(meters)
    sim.run_until(T0 + 2 * SECOND)
    meters[0].power_off()
    meters[0].power_on()
    sim.run_until(T0 + 2 * ROUND)
    assert names(primary) == ids(meters)
    assert {s.address for s in primary.bus.stations} == {m.place.address for m in meters}


@pytest.mark.req("L02")
def test_two_meters_on_one_address_both_draw_anew():
    """Neither is read until its address is unique; the conflict is told."""
    meters = rack_of(2, T0)
    for meter in meters:
        meter.place._fixed = 20
    sim, primary = bus_with(meters)
    sim.run_until(T0 + 10 * SECOND)
    assert not primary.bus.stations
    conflicts = [e for _, e in primary.events if isinstance(e, Trouble)]
    assert any(
        e.kind is TroubleKind.CONFLICT and "offered twice" in e.detail for e in conflicts
    ) or any(e.kind is TroubleKind.DAMAGE for e in conflicts)
    meters[0].place._fixed = 0  # one of them can draw
    sim.run_until(T0 + 3 * ROUND)
    assert names(primary) == ids(meters)


@pytest.mark.req("L02")
def test_a_stranger_on_a_known_address_drives_both_off():
    """The newcomer claims an address in use: both are dropped, both come back."""
    meters = rack_of(2, T0)
    sim, primary = bus_with(meters[:1])
    sim.run_until(T0 + 2 * SECOND)
    (known,) = primary.bus.stations
    meters[1].place._fixed = known.address
    sim.attach(meters[1])
    sim.run_until(T0 + 17 * SECOND)
    sim.run_until(T0 + ROUND)
    assert any(isinstance(e, Lost) and e.reason == "address conflict" for _, e in primary.events)
    sim.run_until(T0 + 4 * ROUND)
    assert names(primary) == ids(meters)


@pytest.mark.parametrize(
    ("fault", "value", "there"),
    [
        ("silent", True, False),
        ("bad_fcs", True, False),
        ("late_slots", 1, True),
        ("ignores_list", True, True),
        ("foreign_source", 9, False),
        ("flood", 40, True),
    ],
)
def test_faulty_meters_do_not_harm_the_others(fault, value, there):
    """lmn-wired.md 1.3: faults worth having; the good ones keep their place."""
    meters = rack_of(3, T0)
    setattr(meters[2].faults, fault, value)
    sim, primary = bus_with(meters)
    sim.run_until(T0 + 4 * ROUND)
    assert names(primary) >= ids(meters[:2])
    assert (ids(meters[2:]) <= names(primary)) is there
    if fault not in {"silent", "late_slots"}:
        # one that ignores the list has a new address each time; the others are told as trouble
        kind = Lost if fault == "ignores_list" else Trouble
        assert any(isinstance(e, kind) for _, e in primary.events)


@pytest.mark.parametrize("address", [0, 1, 2, 127])
def test_reserved_addresses(address):
    """0, 1 and 127 are refused; 2 is accepted where a participant has it (DS v2.0 8.1)."""
    meters = rack_of(1, T0)
    meter = meters[0]
    sim, primary = bus_with([])
    record = Record(address, 1, meter.id.server_id, meter.id.server_id)
    octets = encode_frame(Frame(1, 1, address, 1, control(Kind.UI), encode_records([record])))
    primary.receive(octets, T0 + 5 * MILLISECOND)
    sim.run_until(T0 + SECOND)
    assert bool(primary.bus.stations) is (address == 2)


# -- what the gateway sends ----------------------------------------------------------------------


def test_broadcasts_are_those_of_the_vectors():
    """Allocation every 1.5 s while nobody is there, then check after 15 s, allocation 14 s later."""
    meters = rack_of(1, T0)
    sim = BusSim(RULES.baud, T0)
    sim.log = []
    primary = PrimaryNode(Bus(RULES))
    sim.attach(primary)
    primary.start(T0)
    sim.collect(primary)
    sim.run_until(T0 + 4 * SECOND)
    sent = [(at - T0, data) for at, node, data in sim.log]
    empty = bytes.fromhex("7EA009FE03020313842A7E")
    assert sent == [(n * 1500 * MILLISECOND, empty) for n in range(3)]
    sim.attach(meters[0])
    sim.run_until(T0 + 60 * SECOND)
    told = [(at, decode_frame(d)) for at, node, d in sim.log if node is primary][3:]
    lists = [(at, f) for at, f in told if f.kind is Kind.UI and f.information]
    assert [f.destination_sap for _, f in lists] == [2, 1, 2, 1][: len(lists)]
    (check_at, check), (allocation_at, allocation) = lists[:2]
    assert [r.slot for r in decode_records(check.information)] == [1]
    assert [r.slot for r in decode_records(allocation.information)] == [0]
    found = next(at for at, e in primary.events if isinstance(e, Found))
    assert 14 * SECOND < check_at - found < 15 * SECOND  # counted from the allocation's begin
    assert allocation_at - check_at == 14 * SECOND


@given(st.integers(1, 12), st.integers(0, 50))
@settings(max_examples=15)
def test_everybody_gets_turns_in_fair_measure(count, seed):
    """Who waits longest is next: with all links busy nobody gets two turns more than another."""
    meters = rack_of(count, T0)
    sim, primary = bus_with(meters)
    sim.run_until(T0 + 10 * SECOND)
    stations = primary.bus.stations
    before = {s.address: s.frames for s in stations}

    def opened(event, now):
        if isinstance(event, FromStation) and isinstance(event.event, Opened):
            event.station.link.expecting = True

    primary.on_event = opened
    for station in stations:
        station.link.open(RULES.sap_sym)
    primary.wake(sim.now)
    sim.collect(primary)
    sim.run_until(sim.now + 60 * MILLISECOND)
    turns = [s.frames - before[s.address] for s in stations]
    assert min(turns) > 2
    assert max(turns) - min(turns) <= 1


# -- a bad line ------------------------------------------------------------------------------------

LINES = {
    "one octet at a time": Faults(piece=1),
    "local echo": Faults(echo=True),
    "delay": Faults(delay_ns=40 * MILLISECOND),
    "jitter": Faults(jitter_ns=2 * MILLISECOND),
    "loss": Faults(lost=50_000, seed=3),
    "bit errors": Faults(bit_errors=300, seed=4),
    "swallowed octets": Faults(swallowed=300, seed=5),
}


@pytest.mark.parametrize("name", LINES)
def test_transfers_over_every_kind_of_line(name):
    """Data go both ways, once and in order, on every line; a lost connection begins anew."""
    meters = rack_of(2, T0)
    sim, primary = bus_with(meters, LINES[name])
    received: dict[int, bytes] = {}
    sizes = (10, 2034, 3000)

    def on_event(event, now):
        if isinstance(event, Found):
            event.station.link.open(RULES.sap_sym)
        elif isinstance(event, FromStation):
            link, inner = event.station.link, event.event
            if isinstance(inner, Opened):
                received[event.station.address] = b""
                for size in sizes:
                    link.send(bytes(size))
                link.expecting = True
            elif isinstance(inner, Arrived):
                received[event.station.address] += inner.data
            elif link.state == "closed":
                link.open(RULES.sap_sym)

    primary.on_event = on_event
    for meter in meters:  # echo every I frame: no protocol above
        meter._arrived = lambda data, now, meter=meter: meter.link.send(data)
    sim.run_until(T0 + (60 if name == "one octet at a time" else 200) * SECOND)
    assert len(primary.bus.stations) == 2
    for station in primary.bus.stations:
        assert received[station.address] == bytes(sum(sizes))
    if name == "local echo":
        assert any(isinstance(e, Trouble) and e.kind is TroubleKind.ECHO for _, e in primary.events)


def test_a_meter_at_another_speed_is_noise():
    """Baud mismatch: garbage both ways, the others work."""
    meters = rack_of(2, T0)
    sim, primary = bus_with(meters[:1])
    sim.attach(meters[1], baud=460_800)
    sim.run_until(T0 + 2 * ROUND)
    assert names(primary) == ids(meters[:1])


@given(st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=60)), max_size=20))
def test_arbitrary_octets_never_stop_the_primary(pieces):
    """Any octets at any time: no exception, and the broadcasts go on."""
    bus = Bus(RULES)
    now = T0
    bus.start(now)
    for pause, data in pieces:
        due = bus.next_deadline()
        now = now + pause * 30 * MILLISECOND
        if due is not None and due <= now:
            bus.on_deadline(now)
        bus.receive(data, now)
    bus.output()
    for _ in range(8):
        due = bus.next_deadline()
        assert due is not None
        now = max(now, due)
        bus.on_deadline(now)
    assert b"\xfe\x03\x02\x03\x13" in bus.output()


frames = st.builds(
    Frame,
    st.sampled_from([1, 58, 127, 3]),
    st.sampled_from([1, 2, 6]),
    st.sampled_from([1, 58, 3, 126]),
    st.sampled_from([1, 2, 6]),
    st.integers(0, 255),
    st.binary(max_size=70),
)


@given(st.lists(frames, max_size=25), st.integers(0, 99))
def test_arbitrary_frames_never_stop_a_meter(items, seed):
    """Any frames: the meter answers some of them and then still takes part in an allocation."""
    link = SecondaryLink(RULES, lambda sap: sap == 6)
    name = bytes.fromhex("0a01454d4800004af1fd")
    place = Participant(name, name, RULES, link, random.Random(seed))
    for frame in items:
        place.receive(frame, T0, T0)
        place.reply(frame, T0)
    call = Frame(127, 1, 1, 1, control(Kind.UI))
    place.receive(call, T0, T0)
    reply = place.reply(call, T0)
    assert reply is not None
    (record,) = decode_records(reply.frame.information)
    assert record.participant == name
    assert reply.at - T0 == (record.slot - 1) * RULES.slot_ms * MILLISECOND
    assert 1 <= record.slot <= RULES.slots


def test_the_table_of_the_line_decides():
    """Every constant that the spec marks uncertain is in the profile: others work too."""
    rules = msgspec.structs.replace(
        RULES, sap_first=True, slots=10, slot_ms=20, gateway_address=5, first_address=10,
        last_address=30, sap_allocation=9, sap_check=11, broadcast_ms=400, empty_ms=500,
    )  # fmt: skip
    profile = msgspec.structs.replace(PROFILE, lmn_bus=rules)
    meters = rack_of(3, T0, profile=profile)
    sim = BusSim(rules.baud, T0)
    primary = PrimaryNode(Bus(rules))
    sim.attach(primary)
    for meter in meters:
        sim.attach(meter)
    primary.start(T0)
    sim.collect(primary)
    sim.run_until(T0 + 2 * ROUND)
    assert names(primary) == ids(meters)
    assert all(10 <= s.address <= 30 for s in primary.bus.stations)
