"""wM-Bus layers and acceptance: published telegrams, hostile octets, a state machine over the inbox.

What is only a round trip of our own encoder (fragments, KI and ML, tags of 12 and 16 octets: no
published telegram has them, ``lmn-wireless.md`` 4) says so; the arithmetic behind it is checked against
OpenSSL and another library in tests/interop/test_wmbus_foreign.py.
"""

from __future__ import annotations

import contextlib
import tracemalloc

import msgspec
import pytest
from fuzz import fuzz, inputs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from radio_lab import NOW, RULES, vectors, wireless

from lmn.mbus import decode_records, expand
from lmn.mbus.wired import decode_long_frame
from lmn.wmbus import (
    Address,
    HeardList,
    Inbox,
    Meter,
    Verdict,
    open_telegram,
    parse_telegram,
)
from lmn.wmbus.afl import MAX_MESSAGE, Afl, Assembly
from lmn.wmbus.air import BANDS, AirReceiver, encode_chips
from lmn.wmbus.coding import (
    decode_manchester,
    decode_three_of_six,
    encode_manchester,
    encode_three_of_six,
)
from lmn.wmbus.encode import Outline, encode_ell_encrypted, encode_telegram
from lmn.wmbus.link import (
    decode_a,
    decode_b,
    encode_a,
    encode_b,
    encode_link,
    manufacturer_code,
    manufacturer_letters,
)
from lmn.wmbus.security import encrypt_mode_10, make_mac
from lmn.wmbus.tpl import Tpl
from smgw_emu.core.errors import LocalProtocolError, RemoteProtocolError
from smgw_emu.core.instants import SECOND

VECTORS = vectors()
FRAMES = {n: v for n, v in VECTORS.items() if v["layer"] == "wmbus-frame"}
AUTHENTICATED = ("oms_n_profileB_gas_integrated", "oms_n_profileB_gas_radio_adapter_long")
RADIO = RULES
LAB = msgspec.structs.replace(RULES, unauthenticated=True, controls=(*RULES.controls, 0x08))
KEY = bytes(range(16))


def bare(entry):
    return bytes.fromhex(entry.get("telegram_no_crc") or entry["telegram"])


def key_of(entry):
    return bytes.fromhex(entry["key"]) if entry["key"] else None


def known(address, key=KEY, counter=-1):
    return {address.octets: Meter("meter", key, counter)}


# -- chips and frames ------------------------------------------------------------------------------

frames = st.builds(
    lambda control, address, payload: encode_link(control, Address(address), payload),
    st.integers(0, 255),
    st.binary(min_size=8, max_size=8),
    st.binary(min_size=1, max_size=246),
)


def naive_crc(data):
    """EN 13757-4, bit by bit: polynomial 3D65, nothing reflected, complemented."""
    register = 0
    for octet in data:
        for at in range(7, -1, -1):
            top = (register >> 15) ^ (octet >> at & 1)
            register = (register << 1 & 0xFFFF) ^ (0x3D65 if top else 0)
    return (register ^ 0xFFFF).to_bytes(2, "big")


@pytest.mark.req("LMN-N05")
@pytest.mark.parametrize("name", FRAMES)
def test_published_frames_with_checksums(name):
    entry = FRAMES[name]
    whole = (
        bytes.fromhex(entry["telegram_format_a_with_crc"])
        if entry.get("telegram_format_a_with_crc")
        else encode_a(bare(entry))
    )
    if entry.get("format") == "B":
        whole = bytes.fromhex(entry["telegram"])
        assert decode_b(whole) == bare(entry)
        assert encode_b(bare(entry)) == whole
        return
    assert encode_a(bare(entry)) == whole
    assert decode_a(whole) == bare(entry)


@given(frames)
def test_format_a_is_blocks_with_checksums(frame):
    blocks = [frame[:10]] + [frame[at : at + 16] for at in range(10, len(frame), 16)]
    air = b"".join(block + naive_crc(block) for block in blocks)
    assert encode_a(frame) == air
    assert decode_a(air) == frame


@given(frames)
def test_format_b_has_one_or_two_checksums(frame):
    if len(frame) > 252:
        with pytest.raises(RemoteProtocolError):
            encode_b(frame)
        return
    air = encode_b(frame)
    parts = [air[:128], air[128:]] if len(air) > 128 else [air]
    assert all(part[-2:] == naive_crc(part[:-2]) for part in parts)
    assert air[0] == len(air) - 1
    assert decode_b(air) == frame


@given(frames, st.integers(0, 10**6), st.sampled_from("AB"))
def test_any_wrong_bit_on_air_is_found(frame, position, form):
    if form == "B" and len(frame) > 252:
        return
    encode, decode = (encode_a, decode_a) if form == "A" else (encode_b, decode_b)
    air = bytearray(encode(frame))
    position %= 8 * len(air)
    air[position // 8] ^= 1 << position % 8
    with pytest.raises(RemoteProtocolError):
        decode(bytes(air))


@pytest.mark.parametrize("data", [b"", b"\x09", bytes(12), b"\x0a" + bytes(11)])
def test_what_is_no_frame(data):
    for decode in (decode_a, decode_b):
        with pytest.raises(RemoteProtocolError):
            decode(data)


@given(st.binary(max_size=64))
def test_line_codes(data):
    chips = encode_three_of_six(data)
    assert all(sum(chips[at : at + 6]) == 3 for at in range(0, len(chips), 6))
    assert decode_three_of_six(chips) == data
    assert decode_manchester(encode_manchester(data)) == data


@given(st.lists(st.integers(0, 1), min_size=12, max_size=12).map(bytes))
def test_three_of_six_takes_its_sixteen_words_only(chips):
    words = [int("".join(map(str, chips[at : at + 6])), 2) for at in (0, 6)]
    # lmn-wireless.md 1.1: three ones, but not 07, 38, 15, 2A
    good = all(w.bit_count() == 3 and w not in {0x07, 0x38, 0x15, 0x2A} for w in words)
    try:
        decode_three_of_six(chips)
    except RemoteProtocolError:
        assert not good
    else:
        assert good


noise = st.lists(st.integers(0, 1), max_size=60).map(bytes)


@pytest.mark.req("LMN-N05")
@settings(deadline=None)
@given(
    st.sampled_from(["S", "T", "C"]),
    st.lists(frames.filter(lambda f: len(f) < 90), min_size=1, max_size=3),
    st.booleans(),
    noise,
    st.integers(1, 400),
)
def test_frames_are_found_in_a_stream_of_chips(mode, sent, second, gap, step):
    """Not more than one frame may be lost to a sync word that noise has made."""
    form = "B" if second and mode == "C" else "A"
    stream = b"".join(gap + encode_chips(frame, mode, form) for frame in sent) + bytes(4000)
    receiver = AirReceiver(BANDS[mode])
    found = []
    for at in range(0, len(stream), step):
        found += receiver.receive(stream[at : at + step])
    good = [caught for caught in found if not caught.damage]
    assert all(caught.mode == mode and caught.form == form for caught in good)
    caught = [one.bare for one in good]
    assert set(caught) <= set(sent)
    if not gap:
        assert caught == sent


@given(inputs(encode_chips(bare(FRAMES["frame_b_water_cen"]), "C", "B")[40:]))
def test_any_chips_keep_the_receivers_memory_small(data):
    for band in ("S", "TC"):
        receiver = AirReceiver(band)
        for _ in range(3):
            receiver.receive(bytes(octet & 1 for octet in data))
        assert len(receiver._chips) <= 292 * 16 + 256 + len(data)


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=3, max_size=3))
def test_manufacturers(letters):
    assert manufacturer_letters(manufacturer_code(letters)) == letters


def test_known_manufacturers_and_addresses():
    """lmn-wireless.md 1.4."""
    assert manufacturer_code("ELS") == bytes.fromhex("9315")
    assert manufacturer_code("KAM") == bytes.fromhex("2D2C")
    address = Address.of("ELS", "12345678", 0x33, 3)
    assert address.octets.hex() == "9315785634123303"
    assert (str(address), address.device_id) == ("ELS-12345678-33-03", "7els3312345678")
    for wrong in ("el", "ELSA", "E1S"):
        with pytest.raises(RemoteProtocolError):
            manufacturer_code(wrong)
    for number in ("1234567", "GGGGGGGG"):
        with pytest.raises(RemoteProtocolError):
            Address.of("ELS", number, 0, 0)


# -- published telegrams under attack ----------------------------------------------------------------


@pytest.mark.req("L06", "LMN-N05")
@pytest.mark.parametrize("name", AUTHENTICATED)
def test_an_authenticated_telegram_with_any_octet_changed_is_refused(name):
    """With its checksums as sent: each of them. Without: all but what no MAC covers."""
    entry = FRAMES[name]
    whole, frame, key = encode_a(bare(entry)), bare(entry), key_of(entry)
    good = open_telegram(parse_telegram(frame), key)
    for at in range(len(whole)):
        for change in (0x01, 0x80, 0xFF):
            bad = bytearray(whole)
            bad[at] ^= change
            with pytest.raises(RemoteProtocolError):
                decode_a(bytes(bad))
    address = parse_telegram(frame).address
    passed = set()
    for at in range(len(frame)):
        for change in range(1, 256):
            bad = bytearray(frame)
            bad[at] ^= change
            result = Inbox(LAB, known(address, key)).take(bytes(bad), NOW)
            if result.verdict is Verdict.ACCEPTED:
                assert result.application == good  # the same values, from the same meter
                passed.add(at)
    # C, ELL, and for the radio adapter its own address: outside of the MAC
    unprotected = {1} | set(range(10, 13)) | (set(range(2, 21)) if "adapter" in name else set())
    assert passed <= unprotected


@pytest.mark.req("LMN-N05")
@pytest.mark.parametrize("name", VECTORS)
def test_every_bit_flip_and_every_cut_of_published_telegrams(name):
    """Nothing but RemoteProtocolError; what is authenticated keeps its values or gives none."""
    entry = VECTORS[name]
    frame, key = bare(entry), key_of(entry)
    radio = entry["layer"] == "wmbus-frame"
    variants = [frame[:end] for end in range(len(frame))]
    if radio:  # with an L that fits
        variants += [bytes((len(cut) - 1,)) + cut[1:] for cut in variants[1:]]
    for bit in range(8 * len(frame)):
        bad = bytearray(frame)
        bad[bit // 8] ^= 1 << bit % 8
        variants.append(bytes(bad))
    good = open_telegram(parse_telegram(frame), key) if name in AUTHENTICATED else None
    read = 0
    for data in variants:
        try:
            if not radio:
                long = entry["layer"] == "wired-mbus-long-frame"
                expand(decode_records(decode_long_frame(data).payload if long else data))
                continue
            found = open_telegram(parse_telegram(data, key), key)
        except RemoteProtocolError:
            continue
        read += 1
        assert good is None or found == good or not found.records
    # C, version and type of a short header, and the ELL are under no MAC (lmn-wireless.md 1.7)
    assert good is None or 0 < read < 8 * 21


@pytest.mark.req("LMN-N05")
@fuzz(*(bare(entry) for entry in FRAMES.values()))
def test_any_frame_gives_a_defined_answer(data):
    for key in (None, KEY):
        with contextlib.suppress(RemoteProtocolError):
            open_telegram(parse_telegram(data, key), key)
    inbox = Inbox(LAB, known(Address.of("ELS", "12345678", 0x33, 3)))
    inbox.take(data, NOW)
    assert sum(inbox.verdicts.values()) == 1


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("oms_n_profileB_gas_integrated", Verdict.ACCEPTED),
        ("oms_n2_1_profileA_gas", Verdict.UNAUTHENTICATED),
        ("en13757_3_tableP1_gas_plain", Verdict.UNAUTHENTICATED),
        ("oms_n_profileB_gas_radio_adapter_long", Verdict.FUNCTION),  # RSP-UD: an answer
        ("oms_n5_2_acc_nr", Verdict.FUNCTION),
        ("exmbus_kam_compact_frame_ell_ctr", Verdict.UNREADABLE),
        ("frame_b_water_cen", Verdict.UNAUTHENTICATED),
    ],
)
@pytest.mark.req("LMN-N05")
def test_what_a_gateway_does_with_published_telegrams(name, verdict):
    entry = FRAMES[name]
    data = bare(entry)
    meters = known(Address(data[2:10]), key_of(entry))
    result = Inbox(RADIO, meters).take(data, NOW)
    assert result.verdict is verdict
    assert (result.application is not None) == (verdict is Verdict.ACCEPTED)


# -- our own telegrams (round trips) -------------------------------------------------------------------

ADDRESS = wireless().address
ADAPTER = Address.of("RAD", "00000042", 3, 0x37)
RECORDS = bytes.fromhex("0C1427048502046D32371F1502FD170000")
OUTLINES = [
    Outline(ADDRESS, 7),
    Outline(ADDRESS, 7, ell=False),
    Outline(ADDRESS, 7, tag=12, key_info=b"\x10\x01"),
    Outline(ADDRESS, 7, tag=16, length_info=True),
    Outline(ADDRESS, 7, key_info=b"\x10\x00", length_info=True),
    Outline(ADAPTER, 7, ADDRESS),
    Outline(ADDRESS, 10),
    Outline(ADDRESS, 10, tag=12),
    Outline(ADDRESS, 10, tag=16, ell=False),
    Outline(ADAPTER, 10, ADDRESS, clear=7),
]


@pytest.mark.req("LMN-N05")
@pytest.mark.parametrize("outline", OUTLINES)
@given(counter=st.integers(0, 2**32 - 1), status=st.integers(0, 255), change=st.integers(1, 255),
       at=st.integers(0, 400))  # fmt: skip
def test_profiles_b_and_d_round_trip_and_refuse_changes(outline, counter, status, change, at):
    (frame,) = encode_telegram(
        outline, KEY, RECORDS, counter=counter, access=counter, status=status
    )
    inbox = Inbox(RADIO, known(ADDRESS))
    result = inbox.take(frame, NOW)
    assert result.verdict is Verdict.ACCEPTED
    assert (result.counter, result.telegram.tpl.status) == (counter, status)
    assert (
        result.application == open_telegram(parse_telegram(frame), KEY)
        and len(result.application.records) == 3
    )
    start = 13 if outline.ell else 10
    bad = bytearray(frame)
    bad[start + at % (len(frame) - start)] ^= change
    again = Inbox(RADIO, known(ADDRESS)).take(bytes(bad), NOW)
    assert again.verdict is not Verdict.ACCEPTED
    assert again.application is None


@given(st.integers(1, 120), st.integers(1, 12), st.permutations(range(4)))
def test_fragments_are_put_together(size, records, order):
    """No published telegram is fragmented: our own encoder only."""
    outline = Outline(ADDRESS, 7, fragment=size)
    parts = encode_telegram(outline, KEY, RECORDS * records, counter=5, access=1)
    inbox = Inbox(RADIO, known(ADDRESS))
    results = [inbox.take(part, NOW) for part in parts]
    waiting = [Verdict.WAITING] * (len(parts) - 1)
    assert [result.verdict for result in results] == [*waiting, Verdict.ACCEPTED]
    assert len(results[-1].application.records) == 3 * records
    if len(parts) > 3 and list(order) != sorted(order):
        shuffled = Inbox(RADIO, known(ADDRESS))
        mixed = [parts[index] for index in order] + parts[4:]
        assert all(shuffled.take(part, NOW).verdict is not Verdict.ACCEPTED for part in mixed)


def test_fragments_that_come_too_late_or_from_strangers():
    parts = encode_telegram(Outline(ADDRESS, 7, fragment=30), KEY, RECORDS, counter=5, access=1)
    assert len(parts) == 2
    inbox = Inbox(RADIO, known(ADDRESS))
    inbox.take(parts[0], NOW)
    late = NOW + (RADIO.fragment_s + 1) * SECOND
    assert inbox.take(parts[1], late).verdict is Verdict.UNREADABLE
    assert Inbox(RADIO).take(parts[0], NOW).verdict is Verdict.UNKNOWN


def test_fragments_of_a_radio_adapter():
    """The long header of the whole message names the meter; few adapters are remembered."""
    outline = Outline(ADAPTER, 7, ADDRESS, fragment=30)
    parts = encode_telegram(outline, KEY, RECORDS, counter=5, access=1)
    inbox = Inbox(RADIO, known(ADDRESS))
    verdicts = [inbox.take(part, NOW).verdict for part in parts]
    assert verdicts == [Verdict.WAITING] * (len(parts) - 1) + [Verdict.ACCEPTED]
    for number in range(1000):
        other = Address.of("RAD", f"{number:08d}", 3, 0x37)
        (first, *_) = encode_telegram(
            Outline(other, 7, ADDRESS, fragment=30), KEY, RECORDS, counter=6, access=1
        )
        inbox.take(first, NOW)
    assert len(inbox._begun) == 16


@pytest.mark.parametrize("security", [7, 10])
def test_authenticated_but_not_encrypted_is_refused(security):
    """TR-03116-3 7.3: the transmission MUST always be encrypted and MAC-protected."""
    counter = (5).to_bytes(4, "little")
    if security == 7:
        message = bytes.fromhex("7A0100000710") + RECORDS
        afl = Afl(mcl=0x25, mcr=counter)
        tag = make_mac(KEY, counter, ADDRESS, afl.protected(message), 8)
        payload = msgspec.structs.replace(afl, mac=tag).encode() + message
    else:
        tpl = Tpl(0x7A, cf=0x2A00, cfe=b"\x10\x01", counter=counter)
        payload = tpl.encode() + encrypt_mode_10(KEY, tpl, ADDRESS, b"", RECORDS)
    result = Inbox(RADIO, known(ADDRESS)).take(encode_link(0x44, ADDRESS, payload), NOW)
    assert result.verdict is Verdict.SECURITY
    assert "not encrypted" in result.reason
    assert len(open_telegram(parse_telegram(encode_link(0x44, ADDRESS, payload)), KEY).records) == 3


def test_a_fragmented_message_is_bounded():
    assembly = Assembly()
    assembly.add(Afl(fragment=1, more=True, mcl=0x65), bytes(200))
    with pytest.raises(RemoteProtocolError, match="16 kB"):
        for number in range(2, 256):
            assembly.add(Afl(fragment=number, more=True), bytes(200))
    assert not assembly.waiting
    assert MAX_MESSAGE == 16_384


@given(st.integers(0, 2**29 - 1), st.binary(min_size=16, max_size=16))
def test_encryption_of_the_extended_link_layer(session, key):
    """Round trip; the cipher itself is proven by exmbus_smk2_ell_ctr_rekeyed."""
    frame = encode_ell_encrypted(ADDRESS, key, RECORDS, session=session, access=3)
    assert len(open_telegram(parse_telegram(frame, key), key).records) == 3
    with pytest.raises(RemoteProtocolError):
        parse_telegram(frame, bytes(a ^ 0x55 for a in key))
    with pytest.raises(RemoteProtocolError, match="no key"):
        parse_telegram(frame)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ("86000000", "ELL V"),
        ("8C00", "extended link layer"),
        ("8D000000000000", "extended link layer"),
        ("8D000000000040FFFF78", "unknown encryption"),
        ("8D000000000000FFFF78", "wrong checksum"),
        ("9005", "AFL"),
        ("900A002025B30A000021924D4F", "do not fit"),
        ("900400810102", "impossible flags"),
        ("900400400102", "impossible flags"),
        ("900700042100000000", "a MAC of"),
        ("900700242501020304", "length that MCL names"),
        ("900B0024280102030405060708", "MAC of kind 8"),
        ("7A0000", "transport layer"),
        ("7200000000", "transport layer"),
        ("7A000000070000", "2 octets|no key|transport|security mode"),
        ("72", "transport layer"),
        ("A0", "manufacturer specific"),
        ("60", "DLMS"),
        ("7C", "DLMS"),
        ("81", "network layer"),
        ("BB", "baud rate"),
        ("FF", "unknown"),
    ],
)
def test_layers_that_are_not_read_are_named(payload, why):
    frame = encode_link(0x44, ADDRESS, bytes.fromhex(payload))
    with pytest.raises(RemoteProtocolError, match=why):
        open_telegram(parse_telegram(frame), None)


@pytest.mark.parametrize(
    ("tpl", "verdict", "why"),
    [
        ("7A0000100D", Verdict.TLS, "two-way"),
        ("7A00000001", Verdict.SECURITY, "security mode 1 "),
        ("7A000020071000" + "00" * 16, Verdict.MAC, "without a MAC"),
        ("7A0000FF2A1000" + "00" * 20, Verdict.SECURITY, "tag of 4"),
        ("7A0000FF2A0001" + "00" * 20, Verdict.DAMAGED, "derivation 0"),
        ("7A0000FF2A1101" + "00" * 20, Verdict.DAMAGED, "key 1"),
        ("7A0000FF0A1001" + "00" * 20, Verdict.DAMAGED, "no message counter"),
        ("7A00000000", Verdict.UNAUTHENTICATED, "no MAC"),
        ("8A00000000", Verdict.EMPTY, ""),
    ],
)
def test_security_modes_that_are_refused_are_named(tpl, verdict, why):
    frame = encode_link(0x44, ADDRESS, bytes.fromhex(tpl))
    result = Inbox(RADIO, known(ADDRESS)).take(frame, NOW)
    assert result.verdict is verdict
    assert why in result.reason
    assert result.application is None


def test_a_short_mac_is_refused():
    """TR-03116-3 table 19: at least 64 bit, however good a shorter one may be."""
    (frame,) = encode_telegram(Outline(ADDRESS, 7, tag=4), KEY, RECORDS, counter=1, access=1)
    assert Inbox(RADIO, known(ADDRESS)).take(frame, NOW).verdict is Verdict.MAC
    with pytest.raises(LocalProtocolError):
        encode_telegram(Outline(ADDRESS, 9), KEY, RECORDS, counter=1, access=1)


def test_v1_takes_profile_b_only():
    (frame,) = encode_telegram(Outline(ADDRESS, 10), KEY, RECORDS, counter=1, access=1)
    rules = msgspec.structs.replace(RADIO, security=(7,))
    assert Inbox(rules, known(ADDRESS)).take(frame, NOW).verdict is Verdict.SECURITY


# -- memory --------------------------------------------------------------------------------------------


@pytest.mark.req("LMN-N05")
def test_ten_thousand_unknown_senders_take_bounded_memory():
    inbox, heard = Inbox(RADIO, known(ADDRESS)), HeardList(RADIO.heard)
    heard.note(ADDRESS, "meter", NOW)

    def hear(first, count):
        for number in range(first, first + count):
            address = Address.of("STR", f"{number:08d}", 1, 7)
            frames = encode_telegram(
                Outline(address, 7, fragment=20 if number % 3 == 0 else 0),
                KEY,
                RECORDS,
                counter=1,
                access=1,
            )
            for frame in frames:
                result = inbox.take(frame, NOW)
                assert result.verdict is Verdict.UNKNOWN
                heard.note(result.address, result.meter, NOW)

    hear(0, 1500)
    tracemalloc.start()
    hear(1500, 8500)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 2_000_000
    rows = heard.rows()
    assert len(rows) == RADIO.heard
    assert any(row.meter for row in rows)  # ours stays


# -- acceptance as a whole: a state machine against a small oracle -----------------------------------------


class Acceptance(RuleBasedStateMachine):
    """Meters, an attacker who records and changes, power cuts; the oracle is a set of counters."""

    @initialize()
    def begin(self):
        self.meters = {n: wireless("gas", 10_000_000 + n, security=s) for n, s in ((1, 7), (2, 10))}
        self.stored = dict.fromkeys(self.meters, -1)  # what flash holds
        self.used = {n: set() for n in self.meters}
        self.tape = []
        self.now = NOW
        self.accepted = []
        self.boot()

    def boot(self):
        self.inbox = Inbox(
            RADIO,
            {
                m.address.octets: Meter(str(n), m.key, self.stored[n])
                for n, m in self.meters.items()
            },
        )

    def take(self, frame):
        result = self.inbox.take(frame, self.now)
        if result.verdict is Verdict.ACCEPTED:
            number = int(result.meter)
            assert result.counter not in self.used[number], "a counter gave values twice"
            assert result.counter > self.stored[number]
            self.used[number].add(result.counter)
            self.stored[number] = result.counter
        return result

    @rule(number=st.sampled_from([1, 2]), skip=st.integers(0, 3))
    def send(self, number, skip):
        meter = self.meters[number]
        meter.counter += skip
        (frame,) = meter.frames(self.now)
        self.tape.append((number, meter.counter - 1, frame))
        assert self.take(frame).verdict is Verdict.ACCEPTED

    @rule(number=st.sampled_from([1, 2]))
    def lose(self, number):
        meter = self.meters[number]
        (frame,) = meter.frames(self.now)
        self.tape.append((number, meter.counter - 1, frame))

    @rule(index=st.integers(0, 1000))
    def replay(self, index):
        if self.tape:
            number, counter, frame = self.tape[index % len(self.tape)]
            fresh = counter > self.stored[number]
            result = self.take(frame)
            if fresh:
                assert result.verdict is Verdict.ACCEPTED
            else:
                assert result.verdict in {Verdict.REPLAY, Verdict.DUPLICATE}

    @rule(index=st.integers(0, 1000), at=st.integers(13, 200), change=st.integers(1, 255))
    def forge(self, index, at, change):
        if self.tape:
            _, _, frame = self.tape[index % len(self.tape)]
            bad = bytearray(frame)
            bad[13 + at % (len(frame) - 13)] ^= change
            assert self.take(bytes(bad)).verdict is not Verdict.ACCEPTED

    @rule(data=st.binary(max_size=60))
    def noise(self, data):
        assert self.take(data).verdict is not Verdict.ACCEPTED

    @rule()
    def power_cut(self):
        self.boot()

    @rule(seconds=st.integers(1, 4000))
    def wait(self, seconds):
        self.now = self.now + seconds * SECOND

    @invariant()
    def counters_only_rise(self):
        for meter in self.inbox.meters.values() if hasattr(self, "inbox") else ():
            assert meter.counter == self.stored[int(meter.name)]


TestAcceptance = Acceptance.TestCase
TestAcceptance.settings = settings(deadline=None, stateful_step_count=30)
