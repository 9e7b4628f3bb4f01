"""Drivers of radio receivers against virtual ones, and against any octets.

The virtual receivers (bench/radio/sticks.py) are written from the vendors' texts, without the drivers'
code. Hypothesis cuts what they send at any place and puts noise between packets.
"""

from __future__ import annotations

import pytest
from fuzz import fuzz
from hypothesis import given
from hypothesis import strategies as st
from radio_lab import NOW, wireless

from hardware.radio import STICKS, Damage, Heard, Lost, Ready
from hardware.radio.stick import ANSWER_MS, MAX_BUFFER, TRIES
from smgw_emu.bench.radio.sticks import (
    VirtualAmber,
    VirtualIm871a,
    VirtualRc1180,
    virtual_stick,
)
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import MILLISECOND, SECOND
from smgw_emu.radio_line.reception import bare_frame

DEVICES = ["im871a", "amb8465", "cul", "rc1180"]
FRAMES = [wireless(k, 1, security=s).frames(NOW)[0] for k, s in (("gas", 7), ("heat", 10))]
T, TC, S = frozenset("T"), frozenset("TC"), frozenset("S")


def converse(driver, device, now=NOW, seconds=20):
    """Let driver and device talk until nothing is to be said; returns (events, now)."""
    events = driver.start(now)
    end = now + seconds * SECOND
    while now < end:
        out = driver.output()
        answer = device.receive(out) if out else b""
        if answer:
            now = now + MILLISECOND
            events += driver.receive(answer, now)
            continue
        due = driver.next_deadline()
        if due is None:
            break
        now = max(now, due)
        events += driver.on_deadline(now)
    return events, now


def bare(event):
    return bare_frame(event)[0]


@pytest.mark.req("LMN-02")
@pytest.mark.parametrize("kind", DEVICES)
@pytest.mark.parametrize("modes", [T, TC, S])
def test_the_start_up_sets_the_modes(kind, modes):
    driver, device = STICKS[kind](modes), virtual_stick(kind)
    events, _ = converse(driver, device)
    assert [type(event) for event in events if not isinstance(event, Damage)] == [Ready]
    # a CUL listens to one mode at a time
    assert device.modes == (frozenset("T") if kind == "cul" and modes == TC else modes)
    assert driver.text != "" and driver.next_deadline() is None


@pytest.mark.parametrize("kind", DEVICES)
def test_modes_are_changed_while_it_runs(kind):
    driver, device = STICKS[kind](T), virtual_stick(kind)
    _, now = converse(driver, device)
    driver.tune(S, now)
    events = []
    for _ in range(20):
        answer = device.receive(driver.output())
        events += driver.receive(answer, now) if answer else []
        due = driver.next_deadline()
        if due is None:
            break
        if not answer:
            now = due
            events += driver.on_deadline(now)
    assert device.modes == S
    assert any(isinstance(event, Ready) for event in events)


@pytest.mark.parametrize("kind", DEVICES)
def test_a_dead_device_is_given_up(kind):
    driver, device = STICKS[kind](T), virtual_stick(kind)
    device.dead = True
    events, now = converse(driver, device)
    assert isinstance(events[-1], Lost)
    assert kind[:2].upper() in events[-1].reason.upper()
    assert now - NOW >= TRIES * ANSWER_MS * MILLISECOND
    device.dead = False
    assert isinstance(converse(driver, device, now)[0][-1], Ready)  # plugged in again


def test_an_amber_in_transparent_mode_is_woken():
    device = VirtualAmber(transparent=True)
    events, _ = converse(STICKS["amb8465"](TC), device)
    assert isinstance(events[-1], Ready)
    assert device._commands


@pytest.mark.req("LMN-02")
@pytest.mark.parametrize("kind", [*DEVICES, "rtl_wmbus", "hex"])
@given(
    picks=st.lists(st.sampled_from(FRAMES), min_size=1, max_size=4),
    rssi=st.integers(-110, -30),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
)
def test_telegrams_arrive_whatever_the_pieces(kind, picks, rssi, cuts):
    driver, device = STICKS[kind](T), virtual_stick(kind)
    _, now = converse(driver, device)
    stream = b"".join(device.hear(frame, "T", "A", rssi) for frame in picks)
    found, at, turn = [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        now = now + MILLISECOND
        found += driver.receive(stream[at : at + size], now)
        at, turn = at + size, turn + 1
    assert [bare(event) for event in found] == picks
    assert all(event.at <= now for event in found)
    if kind in DEVICES:
        assert all(abs(event.rssi - rssi) <= 1 for event in found)


@pytest.mark.parametrize("device", [VirtualIm871a(checksums=True), VirtualAmber(levels=False),
                                    VirtualRc1180(levels=False)])  # fmt: skip
def test_settings_of_the_device_are_followed(device):
    kind = {VirtualIm871a: "im871a", VirtualAmber: "amb8465"}.get(type(device), "rc1180")
    driver = STICKS[kind](T)
    _, now = converse(driver, device)
    (event,) = driver.receive(device.hear(FRAMES[0], "T", "A"), now)
    assert event.data == FRAMES[0]
    assert (event.rssi is None) == (kind != "im871a")


@pytest.mark.parametrize("kind", ["im871a", "amb8465"])
@given(noise=st.binary(min_size=1, max_size=30).filter(lambda d: not {0xA5, 0xFF} & set(d)))
def test_noise_between_packets_is_left_out(kind, noise):
    driver, device = STICKS[kind](T), virtual_stick(kind)
    _, now = converse(driver, device)
    stream = noise + device.hear(FRAMES[0], "T", "A") + noise + device.hear(FRAMES[1], "T", "A")
    events = driver.receive(stream, now)
    assert [e.data for e in events if isinstance(e, Heard)] == FRAMES
    assert sum(e.octets for e in events if isinstance(e, Damage)) == 2 * len(noise)


@pytest.mark.req("L07")
@pytest.mark.parametrize("kind", DEVICES)
def test_a_packet_that_stops_is_over(kind):
    driver, device = STICKS[kind](T), virtual_stick(kind)
    _, now = converse(driver, device)
    report = device.hear(FRAMES[0], "T", "A")
    assert driver.receive(report[:-3], now) == []
    later = now + 3 * SECOND
    events = driver.receive(report, later)
    assert [type(e) for e in events] == [Damage, Heard]
    assert events[1].at == later


@pytest.mark.parametrize("device", [VirtualIm871a(checksums=True), VirtualAmber()])
def test_a_packet_with_a_changed_octet_is_no_telegram(device):
    kind = "im871a" if isinstance(device, VirtualIm871a) else "amb8465"
    driver = STICKS[kind](T)
    _, now = converse(driver, device)
    good = device.hear(FRAMES[0], "T", "A")
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 0x01
        now = now + 5 * SECOND  # what the last one left is over
        events = driver.receive(bytes(bad), now)
        assert not any(isinstance(event, Heard) for event in events)
    now = now + 5 * SECOND
    assert any(isinstance(event, Heard) for event in driver.receive(good, now))


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("rtl_wmbus", b"T1;0;1;x;97;40;1;0x0A44"),
        ("rtl_wmbus", b"T1;1;0;x;97;40;1;0x0A44"),
        ("rtl_wmbus", b"X1;1;1;x;97;40;1;0x0A44"),
        ("rtl_wmbus", b"T1;1;1;x;97;40;1;0xGG"),
        ("rtl_wmbus", b"nothing"),
        ("hex", b"not hex"),
        ("hex", b"0A44"),
        ("cul", b"bZZ"),
        ("cul", b"b0A44"),
        ("cul", b"?"),
    ],
)
def test_lines_that_are_no_telegrams(kind, line):
    driver = STICKS[kind](T)
    (event,) = driver.receive(line + b"\r\n", NOW)
    assert isinstance(event, Damage)


def test_hex_lines_may_have_comments():
    driver = STICKS["hex"](T)
    text = b"# recorded\n\n" + FRAMES[0].hex().encode() + b" # gas\n"
    (event,) = driver.receive(text, NOW)
    assert event.data == FRAMES[0]


@fuzz(b"\xa5\x82\x03\x20", b"\xff\x03\x20\x00", b"b0A44\r\n", b">", b"T1;1;1;;;;;0x")
def test_any_octets_keep_a_driver_small(data):
    for kind in [*DEVICES, "rtl_wmbus", "hex"]:
        virtual_stick(kind).receive(data)
        driver = STICKS[kind](T)
        driver.start(NOW)
        for step in range(2):
            for event in driver.receive(data, NOW + step * SECOND):
                assert isinstance(event, Heard | Damage | Ready)
        assert len(driver._buffer) <= MAX_BUFFER


def test_unknown_receivers_are_refused():
    with pytest.raises(ConfigError, match="no receiver"):
        virtual_stick("sdr")
