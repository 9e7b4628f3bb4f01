"""SML: any chunking, any bytes, every message kind."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools

import pytest
from fuzz import fuzz
from hypothesis import example, given
from hypothesis import strategies as st

from lmn.crc import crc16_kermit, crc16_x25
from lmn.sml import (
    SmlDamage,
    SmlFile,
    SmlReceiver,
    decode_messages,
    encode_frame,
    encode_messages,
    tlv,
)
from lmn.sml import bodies as b
from lmn.sml.messages import LAYOUTS, Message
from lmn.sml.report import reports
from lmn.sml.transport import ESCAPE, START, CrcKind
from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.core.errors import LocalProtocolError, RemoteProtocolError
from smgw_emu.core.instants import WorldTime
from smgw_emu.profiles import load

LIMITS = load().sml

# Payloads rich in the octets that matter to the transport layer.
tricky = st.lists(
    st.sampled_from([b"\x1b", ESCAPE, START, b"\x1a", b"\x00", b"\x01", b"\x76\x05", b"\x1b\x1b"]),
    min_size=1,
    max_size=12,
).map(b"".join)
payloads = st.one_of(st.binary(min_size=1, max_size=80), tricky)


def receive(chunks, **limits) -> list:
    receiver = SmlReceiver(**limits)
    return [event for chunk in chunks for event in receiver.receive(chunk)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(payloads, st.sampled_from(list(CrcKind)))
@example(b"\x1b" * 5, CrcKind.X25)
@example(b"\x1b" * 4, CrcKind.X25)
@example(b"\x1b" * 7, CrcKind.KERMIT)
def test_a_frame_gives_back_its_payload(payload, crc):
    """Escapes and padding vanish, whatever the payload ends with."""
    assert receive([encode_frame(payload, crc)]) == [SmlFile(payload, crc)]


@given(
    st.lists(st.one_of(payloads.map(encode_frame), st.binary(max_size=40), tricky), max_size=6).map(
        b"".join
    ),
    st.lists(st.integers(0, 10_000), max_size=20),
    st.sampled_from([64, 200, 65_536]),
)
def test_chunking_never_changes_the_result(stream, places, max_frame):
    """Frames, damage and dropped octets are the same for one chunk, many, or single octets."""
    whole = receive([stream], max_frame=max_frame)
    assert receive(cut(stream, places), max_frame=max_frame) == whole
    assert receive([bytes((octet,)) for octet in stream], max_frame=max_frame) == whole


@given(
    st.binary(max_size=60).filter(lambda d: ESCAPE not in d and not d.endswith(b"\x1b")), payloads
)
def test_a_good_frame_after_garbage_is_found(garbage, payload):
    """Noise before a frame costs nothing but the noise."""
    receiver = SmlReceiver()
    assert receiver.receive(garbage + encode_frame(payload)) == [SmlFile(payload, CrcKind.X25)]
    assert receiver.noise == len(garbage)


@given(payloads.filter(lambda p: b"\x1b" not in p), st.integers(1, 200))
@example(b"U\r", 1)  # its checksum ends with 1B
def test_a_lost_tail_does_not_swallow_the_next_frame(payload, lost):
    """A frame cut short is damage; the one behind it arrives."""
    frame = encode_frame(payload)
    short = frame[: max(len(START), len(frame) - lost)]
    events = receive([short + frame])
    assert events[-1] == SmlFile(payload, CrcKind.X25)
    if set(frame[len(short) :]) == {0x1B}:
        return  # the next frame's first octets are just what was lost: nobody can tell
    assert len(events) == 2 or short == frame


@given(payloads, st.data())
def test_a_flipped_bit_is_never_a_good_frame_with_that_content(payload, choice):
    """One wrong bit in the checked part is found by the checksum."""
    frame = bytearray(encode_frame(payload))
    position = choice.draw(st.integers(len(START), len(frame) - 3))
    frame[position] ^= 1 << choice.draw(st.integers(0, 7))
    good = [event for event in receive([bytes(frame)]) if isinstance(event, SmlFile)]
    assert all(event.payload != payload for event in good)


def test_memory_stays_bounded_on_an_endless_frame():
    """A frame that never ends is given up, again and again, and the buffer does not grow."""
    receiver = SmlReceiver(max_frame=1000)
    for _ in range(2000):
        receiver.receive(START + b"\x55" * 700)
        assert len(receiver._buffer) <= 2000


# -- messages --------------------------------------------------------------------------------

octets = st.binary(max_size=40)
filled = st.binary(min_size=1, max_size=40)  # empty and absent look alike on the wire
value = st.one_of(filled, st.booleans(), st.integers(-(2**63), 2**64 - 1))
u8, i8 = st.integers(0, 255), st.integers(-128, 127)
u32, u64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
i16 = st.integers(-(2**15), 2**15 - 1)
moment = st.one_of(
    st.builds(b.Time, st.sampled_from([1, 2]), u32), st.builds(b.Time, st.just(3), u32, i16, i16)
)
o_octets, o_time = st.none() | filled, st.none() | moment
entry = st.builds(
    b.ListEntry, octets, value, st.none() | u8, st.none() | i8, st.none() | u64, o_time, o_octets
)
period = st.builds(b.PeriodEntry, octets, u8, i8, value, o_octets)
triple = (u8, i8, value)
tuple_entry = st.tuples(filled, moment, u64, *triple * 3, filled, *triple * 3, filled).map(
    b.TupleEntry
)
tree = st.recursive(
    st.builds(b.Tree, octets, st.none() | value | moment | period | entry | tuple_entry),
    lambda t: st.builds(b.Tree, octets, st.none() | value, st.lists(t, max_size=3).map(tuple)),
    max_leaves=5,
)
objects = st.lists(octets, max_size=3).map(tuple)
access = (o_octets, o_octets, o_octets)
profile_request = (
    *access,
    st.none() | st.booleans(),
    o_time,
    o_time,
    objects,
    st.none() | objects,
    st.none() | tree,
)
headers = st.lists(st.builds(b.PackHeader, octets, u8, i8), max_size=2).map(tuple)
cells = st.lists(st.builds(b.PackValue, value, o_octets), max_size=2).map(tuple)
rows = st.lists(st.builds(b.PackPeriod, moment, u64, cells, o_octets), max_size=2).map(tuple)
BODIES = {
    b.OpenRequest: st.builds(b.OpenRequest, o_octets, octets, octets, *access, st.none() | u8),
    b.OpenResponse: st.builds(
        b.OpenResponse, o_octets, o_octets, octets, octets, o_time, st.none() | u8
    ),
    b.CloseRequest: st.builds(b.CloseRequest, o_octets),
    b.CloseResponse: st.builds(b.CloseResponse, o_octets),
    b.GetListRequest: st.builds(b.GetListRequest, octets, *access, o_octets),
    b.GetListResponse: st.builds(
        b.GetListResponse,
        o_octets,
        octets,
        o_octets,
        o_time,
        st.lists(entry, max_size=4).map(tuple),
        o_octets,
        o_time,
    ),
    b.GetProfilePackRequest: st.builds(b.GetProfilePackRequest, *profile_request),
    b.GetProfileListRequest: st.builds(b.GetProfileListRequest, *profile_request),
    b.GetProfilePackResponse: st.builds(
        b.GetProfilePackResponse, octets, moment, u32, objects, headers, rows, o_octets, o_octets
    ),
    b.GetProfileListResponse: st.builds(
        b.GetProfileListResponse,
        octets,
        moment,
        u32,
        objects,
        moment,
        u64,
        st.lists(period, max_size=2).map(tuple),
        o_octets,
        o_octets,
    ),
    b.GetProcParameterRequest: st.builds(b.GetProcParameterRequest, *access, objects, o_octets),
    b.GetProcParameterResponse: st.builds(b.GetProcParameterResponse, octets, objects, tree),
    b.SetProcParameterRequest: st.builds(b.SetProcParameterRequest, *access, objects, tree),
    b.AttentionResponse: st.builds(b.AttentionResponse, octets, octets, o_octets, st.none() | tree),
}
messages = st.builds(Message, octets, st.one_of(*BODIES.values()), u8, u8)


def test_every_layout_has_a_strategy():
    """No message kind is left out of the round trip."""
    assert set(BODIES) == {layout.body for layout in LAYOUTS}


@given(st.lists(messages, min_size=1, max_size=3))
def test_messages_round_trip(sent):
    """Every kind of message survives encoding and decoding."""
    assert decode_messages(encode_messages(sent)) == sent
    assert decode_messages(encode_messages(sent, crc16_kermit)) == sent


@given(messages)
def test_every_truncation_is_refused(message):
    """A message cut anywhere is the peer's fault, never another exception."""
    data = encode_messages([message])
    for size in range(1, len(data)):
        with pytest.raises(RemoteProtocolError):
            decode_messages(data[:size])


@given(octets, st.sampled_from([0x0800, 0x0901, 0x0A00, 0x7777]))
def test_unknown_bodies_are_kept_verbatim(content, tag):
    """A tag without layout comes back octet by octet."""
    raw = tlv.sequence([tlv.unsigned(tag, 2), tlv.sequence([tlv.octet_string(content)])])
    data = encode_messages([Message(b"t", b.UnknownBody(tag, raw))])
    (message,) = decode_messages(data)
    assert message.body == b.UnknownBody(tag, raw)
    assert encode_messages([message]) == data


def _with_crc(body: bytes, shortened: bool = False) -> bytes:
    crc = crc16_x25(body)
    if shortened:
        return body + b"\x62" + bytes((crc >> 8,)) + b"\x00"
    return body + b"\x63" + crc.to_bytes(2, "little") + b"\x00"


def test_a_checksum_with_low_octet_zero_may_be_shortened():
    """62 HH is read where the low octet of the checksum is 00 (one meter in 656 does it)."""
    found = 0
    for number in range(2000):
        data = encode_messages([Message(number.to_bytes(4, "big"), b.CloseResponse())])
        if data[-3] == 0:
            short = _with_crc(data[:-4], shortened=True)
            assert decode_messages(short) == decode_messages(data)
            found += 1
    assert found


def test_quirks_of_real_meters_are_read():
    """U32 tags (ITRON), bare time (Holley), shortened integers, empty value (EMH IW8E)."""
    body = bytes.fromhex(
        "76 0201 6200 6200 72 6500000701 77 01 0202 01 6500000102".replace(" ", "")
    )
    body += bytes.fromhex("71 77 0701000108 00ff 01 01 621e 52ff 55000012 34 01".replace(" ", ""))
    body += b"\x01\x01"
    (message,) = decode_messages(_with_crc(body))
    assert message.body.sensor_time == b.Time(1, 0x102)
    assert message.body.entries[0].value == 0x1234
    empty = body.replace(bytes.fromhex("5500001234"), b"\x01")
    (message,) = decode_messages(_with_crc(empty))
    assert message.body.entries[0].value is None
    assert reports([message])[0].values == ()


def test_depth_and_number_of_elements_are_limited():
    """3000 nested lists or a million elements are refused, in bounded time."""
    for body in (b"\x71" * 3000 + b"\x01", b"\xff" * 3 + b"\x0f" + b"\x01" * 1000):
        data = _with_crc(b"\x76\x01\x62\x00\x62\x00\x72\x62\x01" + body)
        with pytest.raises(RemoteProtocolError):
            decode_messages(data)


@pytest.mark.parametrize("field", ["file_id", "server_id"])
def test_a_required_element_cannot_be_left_out(field):
    """The encoder says whose fault it is: ours."""
    body = b.OpenResponse(None, None, b"f", b"s")
    with pytest.raises(LocalProtocolError):
        encode_messages([Message(b"t", b.msgspec.structs.replace(body, **{field: None}))])
    with pytest.raises(LocalProtocolError):
        encode_frame(b"")
    with pytest.raises(LocalProtocolError):
        tlv.unsigned(256, 1)
    with pytest.raises(LocalProtocolError):
        tlv.integer(128, 1)


# -- hostile input ---------------------------------------------------------------------------

_METER = ElectricityMeter("1EMU0000000001", WorldTime(0))
GOOD_FRAME = _METER.frame(WorldTime(10**12))
GOOD_PAYLOAD = receive([GOOD_FRAME])[0].payload


@fuzz(GOOD_PAYLOAD)
def test_arbitrary_payloads_give_messages_or_a_protocol_error(data):
    """10 000 inputs in CI: nothing but RemoteProtocolError ever leaves the decoder."""
    with contextlib.suppress(RemoteProtocolError):
        reports(decode_messages(data, LIMITS.max_depth, LIMITS.max_elements))


@fuzz(GOOD_PAYLOAD)
def test_arbitrary_payloads_with_good_checksums_reach_the_body_decoders(data):
    """The same behind a valid message head and checksum, so that layouts are hit."""
    framed = _with_crc(b"\x76\x02\x01\x62\x00\x62\x00\x72\x63\x07\x01" + data[:200])
    with contextlib.suppress(RemoteProtocolError):
        reports(decode_messages(framed))


@fuzz(GOOD_FRAME * 2)
def test_arbitrary_streams_give_events_only(data):
    """Any bytes give frames and damage; the octets add up."""
    receiver = SmlReceiver(max_frame=512)
    events = receiver.receive(data)
    dropped = sum(event.octets for event in events if isinstance(event, SmlDamage))
    assert receiver.noise + dropped + len(receiver._buffer) <= len(data)
    for event in events:
        assert isinstance(event, (SmlFile, SmlDamage))
        assert dataclasses.is_dataclass(event)
