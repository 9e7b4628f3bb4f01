"""HDLC frames, receiver and bus records: LMN-N01, LMN-06; any octets give a defined answer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fuzz import fuzz, inputs
from hypothesis import example, given
from hypothesis import strategies as st
from wired_lab import RULES

from lmn.bus.records import RECORD_LENGTH, Record, decode_records, encode_records
from lmn.hdlc import Frame, HdlcDamage, HdlcReceiver, Kind, Received, decode_frame, encode_frame
from lmn.hdlc.frame import KINDS, MAX_INFORMATION, control
from smgw_emu.core.errors import LocalProtocolError, RemoteProtocolError
from smgw_emu.core.instants import MILLISECOND, WorldTime

_FILE = Path(os.environ.get("SMGW_DATA", "")) / "hdlc" / "vectors.json"
VECTORS = json.loads(_FILE.read_text())["hdlc"] if _FILE.is_file() else []
T0 = WorldTime(0)

address = st.integers(0, 127)
frames = st.builds(
    Frame,
    address,
    address,
    address,
    address,
    st.integers(0, 255),
    st.binary(max_size=80) | st.binary(min_size=MAX_INFORMATION, max_size=MAX_INFORMATION),
)


def crc_bit_by_bit(data: bytes) -> int:
    """CRC-16/X.25 as the polynomial says it, one bit at a time."""
    register = 0xFFFF
    for octet in data:
        for number in range(8):
            mix = (register ^ octet >> number) & 1
            register = register >> 1 ^ (0x8408 if mix else 0)
    return register ^ 0xFFFF


@pytest.mark.req("LMN-N01")
@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_every_vector_reads_and_writes_bit_exact(vector):
    """The real EMH frame, and frames computed elsewhere."""
    octets, said = bytes.fromhex(vector["hex"]), vector["decoded"]
    frame = decode_frame(octets)
    assert encode_frame(frame) == octets
    assert frame.destination == said["dst_address"]
    assert frame.destination_sap == said["dst_sap"]
    assert frame.source == said["src_address"]
    assert frame.source_sap == said["src_sap"]
    assert f"{frame.control:02X}" == said["control"]
    assert frame.kind.value == said["frame_type"]
    assert frame.poll_final == bool(said["pf"])
    assert frame.information.hex().upper() == said["information"]
    for record, shown in zip(
        decode_records(frame.information) if said.get("records") else [],
        said.get("records", []),
        strict=True,
    ):
        assert record.address == shown["hdlc_address"]
        assert record.slot == shown["slot"]
        assert record.participant.ljust(14, b"\0").hex().upper() == shown["participant_id"]
        assert record.sensor.ljust(14, b"\0").hex().upper() == shown["sensor_id"]


@pytest.mark.req("LMN-06")
@given(frames)
def test_round_trip_and_checksums_of_a_naive_model(frame):
    """HCS and FCS are where and what ISO 13239 says."""
    octets = encode_frame(frame)
    assert decode_frame(octets) == frame
    assert octets[8:10] == crc_bit_by_bit(octets[1:8]).to_bytes(2, "little")
    if frame.information:
        assert octets[-3:-1] == crc_bit_by_bit(octets[1:-3]).to_bytes(2, "little")
    assert int.from_bytes(octets[1:3], "big") & 0x7FF == len(octets) - 2


@given(frames, st.data())
def test_any_flipped_bit_is_refused(frame, data):
    """One bit of a frame cannot change unnoticed: the checksums find it, or the shape does."""
    octets = bytearray(encode_frame(frame))
    bit = data.draw(st.integers(0, 8 * len(octets) - 1))
    octets[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RemoteProtocolError):
        decode_frame(bytes(octets))


@given(frames)
def test_the_other_order_of_the_address_octets(frame):
    """DS v2.0 figure 8.1 prints SAP before address: a setting, with the same content."""
    octets = encode_frame(frame, sap_first=True)
    assert decode_frame(octets, sap_first=True) == frame
    # in that order the octets of address and SAP trade places, extension bits included
    assert octets[3] >> 1 == frame.destination_sap
    assert octets[4] >> 1 == frame.destination


@fuzz(*(bytes.fromhex(v["hex"]) for v in VECTORS))
def test_arbitrary_octets_are_refused_by_name(data):
    """A parser raises nothing but RemoteProtocolError."""
    try:
        frame = decode_frame(data)
    except RemoteProtocolError:
        return
    assert encode_frame(frame) == data


def test_what_does_not_fit_is_our_own_fault():
    with pytest.raises(LocalProtocolError):
        encode_frame(Frame(128, 1, 1, 1, 0x13))
    with pytest.raises(LocalProtocolError):
        encode_frame(Frame(1, 1, 1, 1, 0x13, bytes(MAX_INFORMATION + 1)))
    with pytest.raises(LocalProtocolError):
        control(Kind.UNKNOWN)


@pytest.mark.parametrize("kind", [k for k in Kind if k is not Kind.UNKNOWN])
def test_control_octets_of_the_standard(kind):
    """ISO 13239 modulo 8: all have their own octet and are read back."""
    octet = control(kind, nr=5 if kind in {Kind.I, Kind.RR, Kind.RNR, Kind.REJ} else 0)
    assert KINDS[octet] is kind
    table = {"SNRM": 0x93, "DISC": 0x53, "UA": 0x73, "DM": 0x1F, "FRMR": 0x97, "UI": 0x13,
             "RR": 0xB1, "RNR": 0xB5, "REJ": 0xB9, "I": 0xB0}  # fmt: skip
    assert octet == table[kind.value]


# -- the receiver ------------------------------------------------------------------------------


def naive_frames(data: bytes) -> list[Frame]:
    """Try every position: what a receiver must at least find where frames do not overlap."""
    found, position = [], 0
    while position < len(data):
        if data[position] == 0x7E and position + 3 <= len(data):
            length = int.from_bytes(data[position + 1 : position + 3], "big") & 0x7FF
            try:
                found.append(decode_frame(data[position : position + length + 2]))
            except RemoteProtocolError:
                pass
            else:
                position += length + 1
                continue
        position += 1
    return found


noise = st.binary(max_size=30) | st.sampled_from(
    [b"~", b"~~", b"~\xa0", b"~\xa0\x09", b"\x7e\xa7\xff"]
)


@given(
    st.lists(
        st.tuples(
            noise,
            st.builds(
                Frame,
                address,
                address,
                address,
                address,
                st.integers(0, 255),
                st.binary(max_size=40),
            ),
            st.booleans(),
        ),
        max_size=6,
    ),
    st.integers(1, 50),
)
def test_the_receiver_finds_every_frame_in_any_garbage(items, size):
    """Whole frames between noise are found, whatever the pieces they come in."""
    stream, sent = b"", []
    for garbage, frame, shared in items:
        octets = encode_frame(frame)
        if shared and sent and not garbage and stream.endswith(b"~"):
            octets = octets[1:]
        stream += garbage + octets
        sent.append(frame)
    receiver = HdlcReceiver(RULES)
    events = []
    for start in range(0, len(stream), size):
        events += receiver.receive(stream[start : start + size], T0)
    events += receiver.reset()
    got = [event.frame for event in events if isinstance(event, Received)]
    assert got == naive_frames(stream)
    assert receiver.pending == 0
    lost = sum(event.octets for event in events if isinstance(event, HdlcDamage))
    assert lost <= len(stream)
    if not any(garbage for garbage, _, _ in items):
        assert got == sent


@given(st.lists(st.binary(max_size=300), max_size=20))
@example([b"~\xa7\xff"] * 20)
def test_the_receiver_is_bounded_and_recovers(pieces):
    """Whatever came before, the next frame after a silence is found; the buffer stays small."""
    receiver = HdlcReceiver(RULES)
    now = T0
    for piece in pieces:
        receiver.receive(piece, now)
        assert receiver.pending <= 2 * 2048 + 300
    frame = Frame(1, 1, 58, 1, 0x73)
    later = now + (RULES.gap_ms + 1) * MILLISECOND
    events = receiver.receive(encode_frame(frame), later)
    assert [e.frame for e in events if isinstance(e, Received)][-1:] == [frame]


@pytest.mark.req("LMN-N01")
def test_the_moment_is_that_of_the_first_octet():
    """REQ.TLSHDLC.SMGW.50: also where a flag is shared with the frame before."""
    receiver = HdlcReceiver(RULES)
    octets = encode_frame(Frame(1, 1, 58, 1, 0x10, b"abc"))
    moments = []
    for number, octet in enumerate(b"junk" + octets + octets[1:] + octets):
        events = receiver.receive(bytes((octet,)), WorldTime(number))
        moments += [event.at.ns for event in events if isinstance(event, Received)]
    size = len(octets)
    assert moments == [4, 4 + size, 4 + 2 * size - 1]


# -- records -----------------------------------------------------------------------------------

# a server id of DIN 43863-5 (ten octets, whatever it ends in), or an id of another form
names = st.binary(min_size=9, max_size=9).map(lambda b: b"\x0a" + b) | st.binary(
    min_size=1, max_size=14
).filter(lambda b: b[-1] != 0 and b[0] != 0x0A)
records = st.builds(
    Record,
    st.integers(0, 127),
    st.integers(0, 63),
    names,
    names,
    st.binary(min_size=2, max_size=2),
)


@given(st.lists(records, max_size=63))
def test_records_round_trip(items):
    octets = encode_records(items)
    assert len(octets) == RECORD_LENGTH * len(items) <= RULES.send_information
    assert decode_records(octets) == items


@given(inputs(encode_records([Record(58, 25, bytes.fromhex("0a01454d4800004af1fd"), b"x")])))
def test_arbitrary_records_are_refused_by_name(data):
    try:
        found = decode_records(data)
    except RemoteProtocolError:
        return
    assert len(found) * RECORD_LENGTH == len(data)


def test_ids_that_end_in_zero_keep_their_length():
    """A DIN 43863-5 server id has ten octets, whatever its number ends in."""
    server_id = bytes.fromhex("0a01454d480000000100")
    (record,) = decode_records(encode_records([Record(3, 1, server_id, server_id)]))
    assert record.participant == record.sensor == server_id
    with pytest.raises(LocalProtocolError):
        encode_records([Record(3, 1, bytes(15), b"")])
    with pytest.raises(LocalProtocolError):
        encode_records([Record(3, 1, b"a", b"b")] * 64)
