"""NTP inside TLS: every ignore rule, the keeper's rules, an independent codec, naive models."""

from __future__ import annotations

import msgspec
import ntplib
import pytest
from fuzz import fuzz
from hypothesis import given
from hypothesis import strategies as st

from smgw_emu import profiles
from smgw_emu.bench.timeserver import TimeFaults, TimeServer
from smgw_emu.core.errors import LocalProtocolError
from smgw_emu.core.instants import HOUR, MILLISECOND, SECOND, DeviceTime, WorldTime
from wan.ntp import Ignored, NtpClient, NtpError, NtpPacket, Sample, TimeEventKind, TimeKeeper
from wan.ntp.packet import Timestamp, decode

LIMITS = profiles.load().time
NORM = msgspec.structs.replace(LIMITS, invalid_after_s=0)
NOW = WorldTime(1_800_000_000 * SECOND)


class Random:
    """Counts up, so nothing repeats."""

    def __init__(self):
        self.calls = 0

    def __call__(self, octets: int) -> bytes:
        self.calls += 1
        return self.calls.to_bytes(octets, "big")


def exchange(faults=None, *, error_ns=0, there=0, back=0, synchronised=True, change=None):
    """One request over a line with the given delays (ns); the device clock is off by ``error_ns``."""
    client, server = NtpClient(LIMITS, Random()), TimeServer(faults or TimeFaults())
    request = client.request(NOW, DeviceTime(NOW.ns + error_ns))
    answer = server.answer(request, NOW + there)
    if change is not None:
        answer = change(answer)
    held = server.faults.delay_ms * MILLISECOND
    arrived = DeviceTime(NOW.ns + there + held + back + error_ns)
    return client.receive(answer, arrived, synchronised=synchronised)


# -- packet --------------------------------------------------------------------------------------


def test_the_request_as_the_text_prints_it():
    """LI 0, VN 4, mode 3, stratum 0, poll 0, precision 32, the rest zero, transmit random."""
    client = NtpClient(LIMITS, Random())
    assert client.request(NOW, DeviceTime(NOW.ns)).hex() == "23000020" + "00" * 43 + "01"


@given(
    st.integers(0, 3), st.integers(1, 7), st.integers(0, 7), st.integers(0, 255),
    st.integers(-128, 127), st.integers(-128, 127), st.binary(min_size=44, max_size=44),
)  # fmt: skip
def test_the_header_as_another_library_reads_it(
    leap, version, mode, stratum, poll, precision, rest
):
    """ntplib, both directions."""
    head = bytes((leap << 6 | version << 3 | mode, stratum, poll & 0xFF, precision & 0xFF))
    theirs = ntplib.NTPPacket()
    theirs.from_data(head + rest)
    ours = decode(head + rest)
    assert ours.encode() == head + rest
    assert (ours.leap, ours.version, ours.mode) == (theirs.leap, theirs.version, theirs.mode)
    assert (ours.stratum, ours.poll, ours.precision) == (stratum, poll, precision)
    assert ours.max_error_ns / 1e9 == pytest.approx(
        theirs.root_delay / 2 + theirs.root_dispersion, abs=1e-4
    )
    expected = theirs.tx_timestamp - 2_208_988_800
    assert ours.transmit.ns(round(expected * 1e9)) / 1e9 == pytest.approx(expected, abs=1e-3)


@given(st.integers(0, (1 << 40) * SECOND))
def test_timestamps_keep_a_nanosecond_over_eras(ns):
    """2036 and 2038 are moments like any other."""
    found = Timestamp.from_ns(ns).ns(near=ns + 60 * SECOND)
    assert 0 <= ns - found <= 1


@fuzz(NtpPacket().encode())
def test_arbitrary_packets_are_headers_or_errors(data):
    """10 000 inputs: 48 octets are a header, all else is refused, the client names a reason."""
    client = NtpClient(LIMITS, Random())
    client.request(NOW, DeviceTime(NOW.ns))
    result = client.receive(data, DeviceTime(NOW.ns), synchronised=True)
    assert result is None if len(data) < 48 else isinstance(result, Ignored)
    try:
        assert decode(data).encode() == data
    except NtpError:
        assert len(data) != 48


@pytest.mark.parametrize("position", range(48))
def test_every_flipped_bit_of_an_answer(position):
    """A changed answer is ignored by name, or is still a measurement of a changed time."""
    for bit in range(8):

        def change(answer: bytes, bit=bit) -> bytes:
            changed = bytearray(answer)
            changed[position] ^= 1 << bit
            return bytes(changed)

        result = exchange(change=change)
        assert isinstance(result, (Sample, Ignored))
        if 24 <= position < 32:
            assert result is Ignored.ORIGIN


# -- ignore rules --------------------------------------------------------------------------------


@pytest.mark.req("WAN-N03")
@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (TimeFaults(version=3), Ignored.VERSION),
        (TimeFaults(mode=3), Ignored.MODE),
        (TimeFaults(mode=5), Ignored.MODE),
        (TimeFaults(leap=3), Ignored.LEAP),
        (TimeFaults(wrong_origin=True), Ignored.ORIGIN),
        (TimeFaults(offset_ms=1_001_000), Ignored.JUMP),
        (TimeFaults(offset_ms=-1_001_000), Ignored.JUMP),
        (TimeFaults(extra=b"x"), Ignored.LENGTH),
        (TimeFaults(offset_ms=-10 * 365 * 86_400_000), Ignored.RANGE),
    ],
)
def test_each_ignore_rule(faults, reason):
    """wan.md 7.1, rule by rule, with a server that breaks just this one."""
    assert exchange(faults) is reason


@pytest.mark.req("WAN-N03")
def test_the_round_trip_limit():
    """9.000 s is used, one nanosecond more is ignored (T06: 9.5 s)."""
    assert isinstance(exchange(there=9 * SECOND), Sample)
    assert exchange(there=9 * SECOND, back=1) is Ignored.ROUND_TRIP
    assert exchange(there=9 * SECOND + SECOND // 2) is Ignored.ROUND_TRIP


@pytest.mark.req("WAN-N03")
def test_without_valid_time_any_authentic_time_counts():
    """A deviation of years is used when the clock knows nothing."""
    result = exchange(error_ns=-3 * 365 * 24 * HOUR, synchronised=False)
    assert isinstance(result, Sample)
    assert result.offset == 3 * 365 * 24 * HOUR


@pytest.mark.parametrize("leap", [0, 1, 2])
def test_a_leap_warning_is_no_reason_to_ignore(leap):
    """Only 3 is."""
    assert exchange(TimeFaults(leap=leap)).leap == leap


def test_poll_rate_silence_and_pieces():
    """One request a minute, a deadline for silence, answers in pieces, answers nobody asked for."""
    client, server = NtpClient(LIMITS, Random()), TimeServer()
    assert client.receive(b"x" * 48, DeviceTime(NOW.ns), synchronised=True) is Ignored.NOT_ASKED
    request = client.request(NOW, DeviceTime(NOW.ns))
    with pytest.raises(LocalProtocolError):
        client.request(NOW + (60 * SECOND - 1), DeviceTime(NOW.ns))
    assert client.next_deadline() == NOW + 10 * SECOND
    assert not client.on_deadline(NOW + (10 * SECOND - 1))
    answer = server.answer(request, NOW)
    assert client.receive(answer[:20], DeviceTime(NOW.ns), synchronised=True) is None
    assert isinstance(client.receive(answer[20:], DeviceTime(NOW.ns), synchronised=True), Sample)
    assert client.receive(answer, DeviceTime(NOW.ns), synchronised=True) is Ignored.NOT_ASKED
    client.request(NOW + 60 * SECOND, DeviceTime(NOW.ns))
    assert client.on_deadline(NOW + 70 * SECOND)
    assert client.next_deadline() is None
    assert server.answer(b"junk", NOW) == b""
    assert (server.requests, server.refused) == (1, 1)
    assert TimeServer(TimeFaults(silent=True)).answer(request, NOW) == b""


@given(st.integers(-900, 900), st.integers(0, 4000), st.integers(0, 4000), st.integers(0, 500))
def test_the_offset_is_right_within_half_the_asymmetry(error_s, there, back, held):
    """RFC 5905: the estimate errs by at most half the difference of the two ways."""
    result = exchange(
        TimeFaults(delay_ms=held),
        error_ns=error_s * SECOND,
        there=there * MILLISECOND,
        back=back * MILLISECOND,
    )
    assert isinstance(result, Sample)
    wrong = result.offset + error_s * SECOND
    assert abs(wrong - (there - back) * MILLISECOND // 2) <= 4
    assert result.round_trip == (there + back + held) * MILLISECOND


def test_jitter_repeats_with_its_seed():
    """Two servers with one seed jitter alike, with another they do not."""
    request = NtpClient(LIMITS, Random()).request(NOW, DeviceTime(NOW.ns))
    a, b, c = (TimeServer(TimeFaults(jitter_ms=50), seed) for seed in (1, 1, 2))
    first, second, third = (item.answer(request, NOW) for item in (a, b, c))
    assert first == second != third
    assert abs(decode(first).transmit.ns(NOW.ns) - NOW.ns) <= 50 * MILLISECOND


# -- keeper --------------------------------------------------------------------------------------


def sample(offset=0, round_trip=0) -> Sample:
    return Sample(offset, round_trip, 0, 2, 0)


def kinds(events) -> list[TimeEventKind]:
    return [event.kind for event in events]


@pytest.mark.req("WAN-N03")
def test_limits_as_the_text_computes_them():
    """15 min: ZAmax 27 s, T = 0.80 * 900 s * 0.03 / 50 ppm = 432 000 s = 5 days; 5 min: 9 s, 40 h."""
    keeper = TimeKeeper(LIMITS, NOW, valid=True)
    assert keeper.max_deviation == 27 * SECOND
    assert keeper.alarm_time == 432_000 * SECOND
    five = TimeKeeper(msgspec.structs.replace(LIMITS, smallest_period_s=300), NOW, valid=True)
    assert five.max_deviation == 9 * SECOND
    assert five.alarm_time == 40 * HOUR


@pytest.mark.req("WAN-N03", "SEC-11")
@pytest.mark.parametrize(
    ("offset_ms", "rtt_ms", "kind"),
    [
        (26_900, 0, TimeEventKind.CORRECTED),
        (26_900, 100, TimeEventKind.CORRECTED),
        (26_900, 200, TimeEventKind.UNCERTAIN),
        (27_000, 0, TimeEventKind.UNCERTAIN),
        (-27_000, 0, TimeEventKind.UNCERTAIN),
        (27_100, 0, TimeEventKind.DEVIATION_TOO_LARGE),
        (-27_001, 0, TimeEventKind.DEVIATION_TOO_LARGE),
        (0, 26_000, TimeEventKind.CORRECTED),
        (0, 27_000, TimeEventKind.ROUND_TRIP_TOO_LONG),
    ],
)
def test_the_three_percent_rule(offset_ms, rtt_ms, kind):
    """T01: both conditions of 3.2.6.3.2; 27.0 s is not yet over the limit, but no valid sample."""
    keeper = TimeKeeper(LIMITS, NOW, valid=True)
    (event,) = keeper.on_sample(sample(offset_ms * MILLISECOND, rtt_ms * MILLISECOND), NOW)
    assert event.kind is kind
    assert event.step == (offset_ms * MILLISECOND if kind is TimeEventKind.CORRECTED else 0)
    assert event.calibration == (kind is TimeEventKind.DEVIATION_TOO_LARGE)
    assert keeper.deviating == event.calibration


@pytest.mark.req("SEC-14", "T02")
def test_a_clock_beyond_the_limit_waits_for_the_administrator():
    """A6: told once, moved by no sample; his command takes the next one, whatever it says."""
    keeper = TimeKeeper(LIMITS, NOW, valid=True)
    far = sample(28 * SECOND)
    assert kinds(keeper.on_sample(far, NOW)) == [TimeEventKind.DEVIATION_TOO_LARGE]
    assert keeper.on_sample(far, NOW) == [] and keeper.last_sync is None
    keeper.command()
    (event,) = keeper.on_sample(far, NOW)
    assert (event.kind, event.step) == (TimeEventKind.SET, 28 * SECOND)
    assert not keeper.deviating and not keeper.commanded and keeper.last_sync == NOW
    easy = TimeKeeper(msgspec.structs.replace(LIMITS, on_deviation="correct"), NOW, valid=True)
    seen = kinds(easy.on_sample(far, NOW))
    assert seen == [TimeEventKind.DEVIATION_TOO_LARGE, TimeEventKind.CORRECTED]


def test_condition_one_discards():
    """RTT at or above ZAmax is no synchronisation; the alarm clock goes on."""
    keeper = TimeKeeper(LIMITS, NOW, valid=True)
    assert kinds(keeper.on_sample(sample(0, 27 * SECOND), NOW + HOUR)) == [
        TimeEventKind.ROUND_TRIP_TOO_LONG
    ]
    assert keeper.last_sync is None
    assert keeper.next_deadline() == NOW + 36 * HOUR


def test_the_first_time_sets_the_clock_whatever_it_is():
    """Special case 3.2.6.3.4: no condition 2 without valid time."""
    keeper = TimeKeeper(LIMITS, NOW, valid=False)
    assert keeper.next_deadline() == NOW + keeper.alarm_time, "nothing to become invalid"
    (event,) = keeper.on_sample(sample(10**18), NOW)
    assert (event.kind, event.step, event.valid) == (TimeEventKind.SET, 10**18, True)
    assert keeper.valid


@pytest.mark.req("WAN-N03")
def test_silence_is_an_alarm_and_then_invalid_time():
    """After T an alarm, once; when drift may have used up ZAmax time is invalid; a sample heals."""
    keeper = TimeKeeper(NORM, NOW, valid=True)
    t, end = NOW + keeper.alarm_time, NOW + keeper.holdover
    assert keeper.on_deadline(t + (-1)) == []
    assert kinds(keeper.on_deadline(t)) == [TimeEventKind.ALARM]
    assert keeper.next_deadline() == end
    (event,) = keeper.on_deadline(end)
    assert (event.kind, event.valid) == (TimeEventKind.INVALID, False)
    assert keeper.next_deadline() is None
    assert kinds(keeper.on_sample(sample(SECOND), end)) == [TimeEventKind.SET]
    late = TimeKeeper(NORM, NOW, valid=True)
    assert kinds(late.on_deadline(end + SECOND)) == [TimeEventKind.ALARM, TimeEventKind.INVALID]


@given(st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=30), st.booleans())
def test_the_keeper_against_a_naive_model(steps, by_formula):
    """Hours of samples and silence: alarm and validity follow from the last good sample alone."""
    limits = NORM if by_formula else LIMITS
    keeper, now, last = TimeKeeper(limits, NOW, valid=True), NOW, NOW
    alarmed, valid = False, True
    for hours, answered in steps:
        now = now + hours * HOUR
        seen = kinds(keeper.on_deadline(now))
        gone = now - last
        assert (TimeEventKind.ALARM in seen) == (not alarmed and gone >= 120 * HOUR)
        alarmed = alarmed or TimeEventKind.ALARM in seen
        if valid and gone >= (150 * HOUR if by_formula else 36 * HOUR):
            assert TimeEventKind.INVALID in seen
            valid = False
        if answered:
            keeper.on_sample(sample(), now)
            last, alarmed, valid = now, False, True
        assert keeper.valid == valid
