"""SOCKS-TLS: any octets give a defined answer; the parsers against naive readings of the texts."""

from __future__ import annotations

import contextlib
import ipaddress
import struct

import msgspec
import pytest
from fuzz import fuzz, inputs
from hypothesis import example, given
from hypothesis import strategies as st

from cls_proxy.socks import (
    TABLE,
    Asked,
    FrameReader,
    Payload,
    Phase,
    Reply,
    Request,
    SocksError,
    SocksServer,
    State,
    Tls,
    Wire,
    parse_methods,
    parse_request,
    split_records,
    write_frame,
    write_reply,
)
from smgw_emu import profiles

pytestmark = pytest.mark.req("HAN-N10")
RULES = profiles.load().cls
RECORD = msgspec.structs.replace(RULES, framing="record")
names = st.text("abcz019.-", min_size=1, max_size=63)
records = st.builds(
    lambda kind, body: bytes((kind, 3, 3)) + struct.pack(">H", len(body)) + body,
    st.sampled_from([20, 21, 22, 23]),
    st.binary(max_size=300),
)
pieces = st.lists(st.integers(1, 40), max_size=20)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    found = []
    for size in sizes:
        found.append(data[:size])
        data = data[size:]
    return [*found, data]


@given(methods=st.binary(max_size=255), rest=st.binary(max_size=20))
def test_a_greeting_in_any_pieces(methods, rest):
    """RFC 1928 section 3."""
    greeting = bytes((5, len(methods))) + methods
    assert parse_methods(greeting + rest) == (tuple(methods), rest)
    for end in range(len(greeting)):
        assert parse_methods(greeting[:end]) is None


@given(name=names, port=st.integers(0, 65535), rest=st.binary(max_size=20))
def test_a_request_by_name(name, port, rest):
    """RFC 1928 section 4, ATYP 03."""
    data = b"\x05\x01\x00\x03" + bytes((len(name),)) + name.encode() + struct.pack(">H", port)
    assert parse_request(data + rest) == (Request(name=name, port=port), rest)
    assert all(parse_request(data[:end]) is None for end in range(len(data)))


@given(address=st.ip_addresses(), port=st.integers(0, 65535))
def test_a_request_by_address(address, port):
    """ATYP 01 and 04."""
    kind = 1 if isinstance(address, ipaddress.IPv4Address) else 4
    data = bytes((5, 1, 0, kind)) + address.packed + struct.pack(">H", port)
    assert parse_request(data) == (Request(host=str(address), port=port), b"")


@given(st.binary(min_size=0, max_size=255))
@example(b"a_b")
@example(b"A")
@example(b"a" * 64)
@example(b"")
def test_names_are_judged_octet_by_octet(name):
    """1 to 63 octets, each a-z, 0-9, point or hyphen (REQ.TA.SOCKSTLS.Connect.35)."""
    allowed = set(b"abcdefghijklmnopqrstuvwxyz0123456789.-")
    good = 1 <= len(name) <= 63 and all(octet in allowed for octet in name)
    data = b"\x05\x01\x00\x03" + bytes((len(name),)) + name + b"\x01\xbb"
    try:
        found = parse_request(data)
    except SocksError as error:
        assert not good
        assert error.reply is Reply.NOT_CONFIGURED
    else:
        assert good
        assert found == (Request(name=name.decode(), port=443), b"")


def naive_frames(data: bytes, *, length: bool):
    """One octet at a time, as slow as can be: (frames, is it broken)."""
    found = []
    while len(data) >= 2:
        if data[0] != 1 or data[1] not in {1, 2, 3, 4}:
            return found, True
        if length:
            size, head = (data[2] * 256 + data[3], 4) if len(data) >= 4 else (None, 4)
        else:
            size, head = (5 + data[5] * 256 + data[6], 2) if len(data) >= 7 else (None, 2)
            if size is not None and size > 16_384 + 2_048 + 5:
                return found, True
        if size is None or len(data) < head + size:
            break
        found.append((data[1], data[head : head + size]))
        data = data[head + size :]
    return found, False


@given(
    st.lists(st.tuples(st.sampled_from(list(State)), records), max_size=6),
    st.booleans(),
    pieces,
    st.binary(max_size=6),
)
def test_frames_in_any_pieces(frames, length, sizes, junk):
    """What is written is read, whatever the pieces; junk behind it is found as the model finds it."""
    data = b"".join(write_frame(state, record, length=length) for state, record in frames) + junk
    wanted, broken = naive_frames(data, length=length)
    reader, found = FrameReader(length=length), []
    try:
        for piece in cut(data, sizes):
            found += reader.receive(piece)
    except SocksError:
        assert broken
    else:
        assert not broken
        assert found == wanted
    assert wanted[: len(frames)] == frames


@given(st.lists(records, max_size=5), st.integers(0, 8))
def test_records_are_split_and_kept(many, less):
    """Nothing is lost between TLS and its frames."""
    data = b"".join(many)
    data = data[: max(len(data) - less, 0)]
    found = split_records(data)
    assert b"".join(found) == data
    assert all(len(item) == 5 + int.from_bytes(item[3:5], "big") for item in found[:-1])


@given(st.sampled_from(list(Reply)))
def test_replies_carry_no_address(reply):
    """BND.ADDR and BND.PORT are 0 (Connect.60)."""
    assert write_reply(reply) == bytes((5, reply, 0, 1, 0, 0, 0, 0, 0, 0))


@given(
    inputs(
        b"\x05\x01\x06\x01\x01\x00\x05\x16\x03\x03\x00\x00", b"\x01\x03\x00\x05\x17\x03\x03\x00\x00"
    ),
    st.sampled_from([RULES, RECORD]),
    pieces,
    st.booleans(),
)
def test_any_octets_on_the_port(data, rules, sizes, greeted):
    """Octets for TLS, an answer, or the end with a reason; the memory is bounded by one frame."""
    server = SocksServer(rules)
    if greeted:
        assert server.receive(b"\x05\x01\x06") == [Wire(b"\x05\x06")]
    taken = 0
    try:
        for piece in cut(data, sizes):
            for item in server.receive(piece):
                assert isinstance(item, (Wire, Tls))
                taken += len(item.data) if isinstance(item, Tls) else 0
    except SocksError:
        assert server.refusal() in {b"\x05\xff", b""}
    assert taken <= len(data)
    assert server.phase in {Phase.METHOD, Phase.HANDSHAKE}


@given(st.binary(max_size=400), pieces)
def test_any_octets_inside_tls(data, sizes):
    """A request, then payload; or a refusal with a reply of RFC 1928."""
    server = SocksServer(RULES)
    server.receive(b"\x05\x01\x06")
    server.established()
    items: list[Asked | Payload] = []
    try:
        for piece in cut(data, sizes):
            items += server.decrypted(piece)
    except SocksError as error:
        assert error.reply in set(Reply) - {Reply.OK}
        assert not items
        return
    if items:
        assert isinstance(items[0], Asked)
        assert all(isinstance(item, Payload) for item in items[1:])
        got = b"".join(item.data for item in items[1:])
        assert data.endswith(got)
        assert server.phase is Phase.WAITING
    else:
        assert len(data) < 262


@given(st.sampled_from(list(Phase)), st.sampled_from(list(State)))
def test_the_table_of_frames(phase, state):
    """Handshake before data, options once and before the request, a farewell at any time in TLS."""
    allowed = state in TABLE[phase]
    if phase in {Phase.METHOD, Phase.OVER}:
        assert not allowed
    elif state is State.CLOSING:
        assert allowed
    elif state is State.HANDSHAKE:
        assert allowed == (phase is Phase.HANDSHAKE)
    elif state is State.OPTIONS:
        assert allowed == (phase is Phase.REQUEST)
    else:
        assert allowed == (phase is not Phase.HANDSHAKE)


def test_empty_options_are_answered_once():
    """Figure F17: empty options; a second negotiation is none."""
    server = SocksServer(RULES)
    server.receive(b"\x05\x01\x06")
    server.established()
    assert server.receive(b"\x01\x02\x00\x00") == [Wire(b"\x01\x02\x00\x00")]
    with pytest.raises(SocksError):
        server.receive(b"\x01\x02\x00\x00")


@fuzz(
    b"\x05\x01\x06\x01\x01\x00\x05\x16\x03\x03\x00\x00\x01\x03\x00\x05\x17\x03\x03\x00\x00",
    b"\x05\x01\x00\x03\x09aemt.netz\x01\xbb",
    b"\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb",
)
def test_many_inputs_at_every_stage(data):
    """Greeting, frames and request: each gives what it gives or a SocksError, nothing else."""
    for rules in (RULES, RECORD):
        for stage in range(3):
            server = SocksServer(rules)
            if stage:
                server.receive(b"\x05\x01\x06")
            if stage == 2:
                server.established()
            with contextlib.suppress(SocksError):
                server.receive(data)
            with contextlib.suppress(SocksError):
                server.decrypted(data)
            assert len(server._buffer) < 600
