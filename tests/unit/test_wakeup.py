"""Wake-up: published vectors, order of checks, replay, rate, every changed bit, second description."""

from __future__ import annotations

import hashlib
import struct

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from fuzz import fuzz
from hypothesis import given
from hypothesis import strategies as st

from smgw_emu import profiles
from smgw_emu.bench.pki import Role, TestPki
from smgw_emu.bench.wakeup import wakeup_packet
from smgw_emu.core.ids import DeviceId
from smgw_emu.core.instants import SECOND, DeviceTime, WorldTime
from wan.certificates import ec_key
from wan.wakeup import (
    ByteOrder,
    Rejection,
    WakeupError,
    WakeupService,
    compose,
    decode,
    expected_length,
)

# wan.md 1.5
LITTLE = bytes.fromhex(
    "5755010e54484503000010a500f15365000000000b0b0b0b0b0b0b0b0b0b0b0b010a04007f000701010401038faeefb2"
    "9c5b78b74cdb639473a15bb8dd3ab1c3c3b1865196cf0164e89dfee5044e71725ec7acf456096db3ad8fe032f8486504"
    "726b6532ff0dd87c081250db"
)
BIG = bytes.fromhex(
    "5755010e54484503000010a5000000006553f1000b0b0b0b0b0b0b0b0b0b0b0b010a04007f000701010401032e739227"
    "11a90c5b7edd570232f4e32d811bbe1e3f89864dea6308764a2f35fa3111d1eb42e3497828233907981be29a7fd90de5"
    "0c40d8bca36e3f58f245699b"
)
PUBLIC = ec.EllipticCurvePublicNumbers(
    0x7A7E3D13F67E3410879415B3CF106E805A9DC82335341C3CB5682708FECC90BE,
    0x2B3E5A315F93BB2610B4A9E203D5B458590A3F4AF9011CAD20D6EB0D0886F536,
    ec.BrainpoolP256R1(),
).public_key()
DEVICE = DeviceId.parse("ETHE0300004261")
T = 1_700_000_000
LIMITS = profiles.load().wakeup


class Checker:
    """A security module that counts."""

    def __init__(self, key=PUBLIC):
        self.key = key
        self.calls = 0

    def __call__(self, digest: bytes, signature: bytes) -> bool:
        self.calls += 1
        try:
            self.key.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        except InvalidSignature:
            return False
        return True


def service(**limits) -> tuple[WakeupService, Checker]:
    checker = Checker()
    return WakeupService(DEVICE, msgspec.structs.replace(LIMITS, **limits), checker), checker


def at(offset_ns: int = 0) -> tuple[WorldTime, DeviceTime]:
    return WorldTime(T * SECOND + offset_ns), DeviceTime(T * SECOND + offset_ns)


@pytest.mark.req("WAN-N01", "WAN-N02")
@pytest.mark.parametrize(
    ("packet", "order", "digest"),
    [
        (
            LITTLE,
            ByteOrder.LITTLE,
            "1b40d94230fb652e335849378384b5151ffade09bc51f2b58247ce10040dc821",
        ),
        (BIG, ByteOrder.BIG, "79f71da525a4837a1556160b1c469ac7743984d22e667e862af2e83a99df5374"),
    ],
)
def test_the_published_vectors_bit_for_bit(packet, order, digest):
    """wan.md 1.5: fields, hash, signature; composing the same fields gives the same octets."""
    found = decode(packet)
    assert str(found.device()) == "ETHE0300004261"
    assert T in found.times()
    assert found.times(order) == (T,)
    assert hashlib.sha256(packet[:32]).hexdigest() == digest
    assert compose(DEVICE, T, lambda _: packet[44:], order) == packet
    checked, _ = service()
    assert checked.receive(packet, *at()) is None
    other = ByteOrder.BIG if order is ByteOrder.LITTLE else ByteOrder.LITTLE
    assert service(byte_order=order.value)[0].receive(packet, *at()) is None
    strict = service(byte_order=other.value)[0]
    assert strict.receive(packet, *at()) is Rejection.OUTSIDE_WINDOW


@pytest.mark.req("WAN-N01")
def test_the_window_is_thirty_seconds():
    """Scenario W03: 30.000 s passes, one nanosecond more does not, in both directions."""
    for sign in (1, -1):
        assert service()[0].receive(LITTLE, *at(sign * 30 * SECOND)) is None
        late = service()[0].receive(LITTLE, *at(sign * (30 * SECOND + 1)))
        assert late is Rejection.OUTSIDE_WINDOW


@pytest.mark.req("WAN-N01")
def test_the_checks_come_in_the_order_of_the_text():
    """Each check is made to fail together with all later ones: the first one is named."""
    good = bytearray(LITTLE)
    wrong_signature = bytes(good[:-1]) + bytes((good[-1] ^ 1,))
    other = bytearray(wrong_signature)
    other[6] ^= 1
    no_marker = bytearray(other)
    no_marker[0] ^= 1
    far = at(3600 * SECOND)
    checked, checker = service()
    assert checked.receive(bytes(no_marker), *far) is Rejection.NOT_A_WAKEUP
    assert checked.receive(bytes(other), *far) is Rejection.OTHER_DEVICE
    assert checked.receive(wrong_signature, far[0], None) is Rejection.NO_TIME
    assert checked.receive(wrong_signature, *far) is Rejection.OUTSIDE_WINDOW
    assert checker.calls == 0
    assert checked.receive(wrong_signature, *at()) is Rejection.WRONG_SIGNATURE
    assert checked.receive(LITTLE, *at()) is None
    assert checked.receive(wrong_signature, *at()) is Rejection.SEEN_BEFORE
    assert checker.calls == 2
    checked.enabled = False
    assert checked.receive(LITTLE, *at()) is Rejection.SWITCHED_OFF
    assert checked.accepted == 1
    assert sum(checked.rejected.values()) == 7


@pytest.mark.req("WAN-05")
def test_a_replay_opens_nothing():
    """Scenario W01, also A-B-A, and with the other valid signature anyone can make of the first."""
    pki = TestPki()
    gwa = pki.participant(Role.GWA, "g")
    first, second = (wakeup_packet(gwa, DEVICE, T + n) for n in (0, 1))
    checked = WakeupService(DEVICE, LIMITS, Checker(ec_key(gwa.sig.certificate)))
    assert checked.receive(first, *at()) is None
    assert checked.receive(second, *at()) is None
    assert checked.receive(first, *at()) is Rejection.SEEN_BEFORE
    order = 0xA9FB57DBA1EEA9BC3E660A909D838D718C397AA3B561A6F7901E0E82974856A7
    twisted = first[:76] + (order - int.from_bytes(first[76:], "big")).to_bytes(32, "big")
    assert checked._verify(hashlib.sha256(first[:32]).digest(), _der(twisted))
    assert checked.receive(twisted, *at()) is Rejection.SEEN_BEFORE
    # after the window the time refuses; the last packet is remembered for ever
    assert (
        checked.receive(second, WorldTime((T + 10_000) * SECOND), at()[1]) is Rejection.SEEN_BEFORE
    )


def _der(packet: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    return encode_dss_signature(
        int.from_bytes(packet[44:76], "big"), int.from_bytes(packet[76:], "big")
    )


@pytest.mark.req("WAN-N01")
def test_signature_checks_are_rate_limited():
    """Item e: at most so many calls of the security module per time, whatever arrives."""
    checked, checker = service(signature_checks=3, rate_s=10)
    wrong = LITTLE[:-1] + b"\x00"
    results = [checked.receive(wrong, *at()) for _ in range(50)]
    assert results.count(Rejection.WRONG_SIGNATURE) == 3 == checker.calls
    assert set(results[3:]) == {Rejection.RATE_LIMITED}
    assert checked.receive(LITTLE, *at(10 * SECOND - 1)) is Rejection.RATE_LIMITED
    assert checked.receive(LITTLE, *at(10 * SECOND)) is None


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=40))
def test_the_rate_against_a_naive_model(events):
    """In every window of ten seconds at most three checks, and never one too few."""
    checked, checker = service(signature_checks=3, rate_s=10)
    wrong, now, calls = LITTLE[:-1] + b"\x00", 0, []
    for step, _ in events:
        now += step * SECOND // 8
        allowed = sum(now - call < 10 * SECOND for call in calls) < 3
        before = checker.calls
        checked.receive(wrong, WorldTime(now), at()[1])
        assert (checker.calls > before) == allowed
        if allowed:
            calls.append(now)


def test_a_device_without_time_drops_or_not_by_switch():
    """The text has no rule; dropping is the default."""
    assert service()[0].receive(LITTLE, at()[0], None) is Rejection.NO_TIME
    assert service(without_time=True)[0].receive(LITTLE, at()[0], None) is None


@pytest.mark.req("WAN-N01")
def test_every_flipped_bit_and_every_truncation_is_dropped():
    """Scenario W04."""
    for position in range(len(LITTLE)):
        for bit in range(8):
            changed = bytearray(LITTLE)
            changed[position] ^= 1 << bit
            checked, _ = service()
            assert checked.receive(bytes(changed), *at()) in Rejection
        assert service()[0].receive(LITTLE[:position], *at()) in Rejection
    assert service()[0].receive(LITTLE + b"\x00", *at()) is Rejection.MALFORMED


@pytest.mark.req("WAN-N01")
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (LITTLE[:2] + b"\x02" + LITTLE[3:], Rejection.NOT_A_WAKEUP),
        (LITTLE[:20] + b"\x0c" * 12 + LITTLE[32:], Rejection.MALFORMED),
        (LITTLE[:32] + b"\x02" + LITTLE[33:], Rejection.UNKNOWN_SIGNATURE),
        (LITTLE[:43] + b"\x04" + LITTLE[44:], Rejection.UNKNOWN_SIGNATURE),
        (LITTLE[:33] + b"\x00" + LITTLE[44:], Rejection.UNKNOWN_SIGNATURE),
        (LITTLE[:33] + b"\xff" + LITTLE[34:], Rejection.MALFORMED),
        (LITTLE + bytes(500), Rejection.MALFORMED),
        (b"", Rejection.NOT_A_WAKEUP),
    ],
)
def test_what_is_wrong_is_named(changed, reason):
    """Scenario W04: version, padding, format, algorithm, lengths."""
    checked, checker = service()
    assert checked.receive(changed, *at()) is reason
    assert checker.calls == 0


@fuzz(LITTLE, BIG)
def test_arbitrary_packets_are_dropped_by_name(data):
    """10 000 inputs: a reason, or the unchanged packet."""
    checked, _ = service()
    if checked.receive(data, *at()) is None:
        assert data in {LITTLE, BIG}
    try:
        found = decode(data)
    except WakeupError:
        return
    found.device()
    assert len(found.times()) == 2


@given(
    st.integers(0, 15),
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=3, max_size=3),
    st.integers(0, 255),
    st.integers(0, 99_999_999),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.binary(min_size=64, max_size=64),
)
def test_the_layout_against_plain_struct(medium, letters, block, number, time, signature):
    """T45 and T46 written a second time with struct."""
    device = DeviceId(medium, letters, block, number)
    packet = compose(device, time, lambda _: signature)
    expected = struct.pack(
        "<3sB3sB", b"WU\x01", medium, letters.encode(), block
    ) + struct.pack(">I", number) + struct.pack("<q", time) + b"\x0b" * 12  # fmt: skip
    expected += bytes.fromhex("010a04007f00070101040103") + signature
    assert packet == expected
    found = decode(packet)
    assert found.device() == device
    assert time in found.times()


def test_the_scapy_layer_reads_the_same_packet():
    """A second description of the packet, with other people's field types."""
    scapy_layer = pytest.importorskip("smgw_emu.lab.capture.wakeup")
    from scapy.layers.inet import IP, UDP

    seen = scapy_layer.WakeUp(LITTLE)
    assert (seen.medium, seen.manufacturer, seen.block, seen.number) == (0x0E, b"THE", 3, 4261)
    assert seen.timestamp == T
    assert seen.signature == LITTLE[44:]
    built = scapy_layer.WakeUp(
        number=4261, timestamp=T, oid=bytes.fromhex("04007f00070101040103"), signature=LITTLE[44:]
    )
    assert bytes(built) == LITTLE
    scapy_layer.bind(8470)
    datagram = IP(bytes(IP() / UDP(dport=8470) / LITTLE))
    assert datagram[scapy_layer.WakeUp].timestamp == T


def test_the_length_of_a_packet_on_a_stream():
    """TCP: known as soon as the OID's length is."""
    assert expected_length(LITTLE[:33], 32) is None
    assert expected_length(LITTLE[:34], 32) == len(LITTLE) == 108
    assert expected_length(LITTLE[:34], 48) == 140
