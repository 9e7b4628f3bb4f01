"""M-Bus records (EN 13757-3): published telegrams, and a second, naive description of the headers."""

# ruff: noqa: DTZ001  # a meter tells its local time
from __future__ import annotations

import struct
from datetime import date, datetime, time
from decimal import Decimal

import pytest
from fuzz import fuzz
from hypothesis import example, given
from hypothesis import strategies as st
from radio_lab import NOW, vectors, wireless

from lmn.mbus import Function, decode_records, expand
from lmn.mbus.obis import error_flags, load_obis_map, registers, status_word
from lmn.mbus.profiles import base_time
from lmn.mbus.wired import decode_long_frame
from lmn.wmbus.telegram import open_telegram, parse_telegram, whole
from smgw_emu.core.errors import ConfigError, RemoteProtocolError
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.core.obis import Obis
from smgw_emu.core.status import bit
from smgw_emu.core.values import MeterValue

VECTORS = vectors()
CODES = load_obis_map()


def application(entry):
    """Return the application layer of a vector."""
    key = bytes.fromhex(entry["key"]) if entry["key"] else None
    data = bytes.fromhex(entry.get("telegram_no_crc") or entry["telegram"])
    if entry["layer"] == "apl-only":
        return decode_records(data)
    if entry["layer"] == "wired-mbus-long-frame":
        return open_telegram(whole(None, None, None, decode_long_frame(data).payload), key)
    return open_telegram(parse_telegram(data, key), key)


STATED = [name for name, entry in VECTORS.items() if entry["expected"].get("records")]


@pytest.mark.req("LMN-N05")
@pytest.mark.parametrize("name", STATED)
def test_published_telegrams_say_what_they_are_published_with(name):
    entry = VECTORS[name]
    records = {r.header.octets.hex().upper(): r for r in application(entry).records}
    expected = entry["expected"]["records"]
    for row in expected:
        header = row.get("dif_vif") or "046D"
        record = records[header]
        if "value" in row and record.number is not None and header != "046D":
            assert record.number == Decimal(str(row["value"])), header
        elif "value" in row:
            assert str(record.value).startswith(str(row["value"]))
        if row.get("unit"):
            assert record.header.quantity.unit == row["unit"]
        if "profile" in row.get("type", ""):
            assert record.header.profile == "inverse"
    assert len(expected) <= len(records)


@pytest.mark.req("LMN-N05")
def test_the_plain_text_is_the_published_one():
    entry = VECTORS["oms_n2_1_profileA_gas"]
    data = bytes.fromhex(entry["expected"]["plaintext_apl"])
    assert decode_records(data) == application(entry)


@pytest.mark.req("LMN-N05")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("en13757_3_F2_7_compact_profile", "compact"),
        ("en13757_3_F2_8_inverse_compact_profile", "inverse"),
    ],
)
def test_profiles_of_annex_f(name, kind):
    entry = VECTORS[name]["expected"]
    found = application(VECTORS[name])
    (profile,) = expand(found)
    assert profile.record.header.profile == kind
    base, value = entry["base"]
    start = datetime.fromisoformat(base)
    assert base_time(profile, found).value == start
    assert profile.base.number == Decimal(str(value))
    shown = [
        [profile.moment(start, n).isoformat(timespec="minutes"), Decimal(v).scaleb(-1)]
        for n, v in enumerate(profile.values, start=1)
    ]
    assert shown == [[moment, Decimal(str(v))] for moment, v in entry["expanded_m3"]]


@pytest.mark.req("LMN-N05")
def test_profile_with_registers_of_annex_f():
    entry = VECTORS["en13757_3_F2_6_compact_profile_with_registers"]
    found = application(entry)
    states = {}
    for profile in expand(found):
        start = base_time(profile, found).value
        for number, value in enumerate(profile.values, start=1):
            storage = profile.record.header.storage + number
            states[f"storage{storage}"] = {
                "time": profile.moment(start, number).isoformat(timespec="minutes"),
                "value_Wh": value,
            }
    assert states == entry["expected"]


@pytest.mark.req("LMN-N05")
def test_a_real_inverse_profile_goes_back_month_by_month():
    found = application(VECTORS["zenner_mode5_inverse_compact_profile"])
    (profile,) = expand(found)
    start = datetime.combine(base_time(profile, found).value, time())
    assert profile.values[0] == 64475 - 4412
    assert profile.moment(start, 1) == datetime(2019, 12, 1)
    assert profile.moment(start, 14) == datetime(2018, 11, 1)
    assert list(profile.values) == sorted(profile.values, reverse=True)


# -- headers, against a naive reading ------------------------------------------------------------

UNITS = {  # EN 13757-3 table 10: VIF range -> (unit, exponent of the first code)
    0x00: ("Wh", -3), 0x08: ("J", 0), 0x10: ("m3", -6), 0x18: ("kg", -3), 0x28: ("W", -3),
    0x30: ("J/h", 0), 0x38: ("m3/h", -6),
}  # fmt: skip


@st.composite
def headers(draw):
    """A header by its parts: (octets, storage, tariff, subunit, function, coding, unit, power)."""
    storage, tariff = draw(st.integers(0, 2**17 - 1)), draw(st.integers(0, 255))
    subunit = draw(st.integers(0, 15))
    function, coding = draw(st.integers(0, 3)), draw(st.sampled_from([1, 2, 3, 4, 6, 7, 9, 12, 14]))
    levels = max(
        (storage.bit_length() - 1 + 3) // 4, (tariff.bit_length() + 1) // 2, subunit.bit_length()
    )
    levels = max(0, levels)
    octets = [storage % 2 * 0x40 + function * 0x10 + coding + (0x80 if levels else 0)]
    rest, tariffs, units = storage // 2, tariff, subunit
    for level in range(levels):
        more = 0x80 if level < levels - 1 else 0
        octets.append(more + units % 2 * 0x40 + tariffs % 4 * 0x10 + rest % 16)
        rest, tariffs, units = rest // 16, tariffs // 4, units // 2
    base, (unit, first) = draw(st.sampled_from(list(UNITS.items())))
    step = draw(st.integers(0, 7))
    factor = draw(st.sampled_from([None, *range(8)]))
    octets.append(base + step + (0x80 if factor is not None else 0))
    power = first + step
    if factor is not None:
        octets.append(0x70 + factor)
        power += factor - 6
    return bytes(octets), storage, tariff, subunit, function, coding, unit, power


LENGTHS = {1: 1, 2: 2, 3: 3, 4: 4, 6: 6, 7: 8, 9: 1, 12: 4, 14: 6}


@pytest.mark.req("LMN-N05")
@given(st.lists(st.tuples(headers(), st.data()), min_size=1, max_size=5), st.binary(max_size=9))
def test_records_read_back_as_they_were_put_together(rows, tail):
    data, wanted = b"", []
    for (octets, storage, tariff, subunit, function, coding, unit, power), source in rows:
        size = LENGTHS[coding]
        if coding < 8:
            value = source.draw(st.integers(1 - 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1))
            raw = value.to_bytes(size, "little", signed=True)
        else:
            value = source.draw(st.integers(1 - 10 ** (2 * size - 1), 10 ** (2 * size) - 1))
            digits = f"{value:0{2 * size}d}" if value >= 0 else f"f{-value:0{2 * size - 1}d}"
            raw = bytes.fromhex(digits)[::-1]
        data += octets + raw + b"\x2f" * source.draw(st.integers(0, 2))
        wanted.append((octets, storage, tariff, subunit, function, unit, value, power))
    found = decode_records(data + b"\x0f" + tail)
    assert found.manufacturer == tail
    shown = [
        (
            r.header.octets,
            r.header.storage,
            r.header.tariff,
            r.header.subunit,
            r.header.function,
            r.header.quantity.unit,
            r.value,
            r.header.quantity.exponent,
        )
        for r in found.records
    ]
    assert shown == wanted
    for record, (*_, value, power) in zip(found.records, wanted, strict=True):
        assert record.number == value * Decimal(10) ** power  # exact: 13 + 6 digits and more


@pytest.mark.req("LMN-N05")
def test_thirteen_and_six_digits_survive():
    data = b"\x07\x10" + (9_999_999_999_999_999_999 // 10).to_bytes(8, "little")
    (record,) = decode_records(data).records
    assert record.number == Decimal("999999999999.999999")
    (value,) = registers(decode_records(b"\x0e\x13\x89\x67\x45\x23\x01\x99"), 0x07, CODES)
    assert value == MeterValue(Obis.parse("8-0:1.0.0"), 990123456789, -3, 13)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("0A130A01", None),  # BCD with a letter
        ("0A1334F2", -234),
        ("0113FF", -1),
        ("011380", None),  # the lowest integer: invalid
        ("02138000", 128),
        ("0513CDCCCC3D", Decimal("0.100000001")),
        ("05130000807F", None),  # infinite
        ("0D13C21234", 3412),
        ("0D13D21234", -3412),
        ("0D13E20180", -32767),
        ("0D13E8FFFFFFFFFFFFFF7F", 2**63 - 1),
        ("0DFD11034E4142", "BAN"),
        ("0CFD0878563412", "12345678"),
        ("02FD17FFFF", 0xFFFF),
        ("426CE1F1", date(2027, 1, 1)),
        ("046D32371F15", datetime(2008, 5, 31, 23, 50)),
        ("046D32B71F15", datetime(2008, 5, 31, 23, 50)),
        ("046D00000000", None),
        ("036D3B3B17", time(23, 59, 59)),
        ("066D3B3B170A1100", datetime(2008, 1, 10, 23, 59, 59)),
        ("03131A0000", 26),
        ("0893", None),  # cut off
        ("0813", None),  # selection for readout: no data
        ("00FD3A", None),
        ("8C0013", None),
    ],
)
def test_values(data, value):
    try:
        (record,) = decode_records(bytes.fromhex(data)).records
    except RemoteProtocolError:
        assert value is None
        return
    found = record.value.value if hasattr(record.value, "summer") else record.value
    assert found == value


def test_marks_of_a_meters_clock():
    (record,) = decode_records(bytes.fromhex("046DB2B71F15")).records
    assert record.value.invalid
    assert record.value.summer
    assert str(record.value) == "2008-05-31T23:50:00 summer invalid"


@pytest.mark.parametrize(
    ("octets", "name", "unit", "modifiers"),
    [
        ("0A5A", "flow temperature", "C", ()),
        ("02FD46", "voltage", "V", ()),
        ("02FD5A", "current", "A", ()),
        ("04FB01", "energy", "Wh", ()),
        ("04FB09", "energy", "J", ()),
        ("04853C", "energy", "Wh", ("backward",)),
        ("04853B", "energy", "Wh", ("forward",)),
        ("0493BE00", "volume", "m3", ("base conditions", "VIFE 00")),
        ("0493FC01", "volume", "m3", ("phase L1",)),
        ("0493FF01", "volume", "m3", ("manufacturer specific",)),
        ("04FF2A", "manufacturer specific", "", ()),
        ("02FD74", "remaining battery life", "d", ()),
        ("0274", "actuality duration", "s", ()),
        ("04FD7F", "reserved FD7F", "", ()),
        ("046F", "reserved 6F", "", ()),
    ],
)
def test_value_information(octets, name, unit, modifiers):
    data = bytes.fromhex(octets)
    (record,) = decode_records(data + bytes(8)[: {4: 4, 2: 2, 0xA: 2}[data[0] & 15]]).records
    quantity = record.header.quantity
    assert (quantity.name, quantity.unit, record.header.modifiers) == (name, unit, modifiers)


def test_plain_text_unit():
    """VIF 7C or FC: length and text, last character first, stand behind it."""
    (record,) = decode_records(b"\x02\x7c\x03HR%\x2a\x00").records
    assert (record.header.quantity.unit, record.value) == ("%RH", 42)
    (record,) = decode_records(b"\x02\xfc\x03HR%\x74\x2a\x00").records
    assert record.number == Decimal("0.42")


def test_scale_in_a_modifier():
    (record,) = decode_records(bytes.fromhex("04937D01000000")).records
    assert record.number == 1  # 0.001 m3 times 1000


def test_record_errors_have_no_value():
    (record,) = decode_records(bytes.fromhex("04931801000000")).records
    assert record.value is None
    assert record.header.error == "data error"


@pytest.mark.parametrize(
    "data",
    ["3F", "0D13F7", "0D13CA" + "00" * 10, "0C13", "8C", "8C80", "8C808080808080808080808013",
     "0C93", "027C05AB", "0D"],
)  # fmt: skip
def test_what_is_no_application_layer(data):
    with pytest.raises(RemoteProtocolError):
        decode_records(bytes.fromhex(data))


def test_more_than_ten_vifes():
    with pytest.raises(RemoteProtocolError, match="VIFE"):
        decode_records(b"\x04\x93" + b"\xbe" * 11 + b"\x00" * 8)


@pytest.mark.req("LMN-N05")
@fuzz(*(bytes.fromhex(VECTORS[n]["telegram"]) for n in STATED if "en13757_3_F" in n),
      bytes.fromhex("2F2F0C1427048502046D32371F1502FD170000"))  # fmt: skip
@example(b"\x0d\x13\xf5")
def test_any_application_layer_gives_a_defined_answer(data):
    try:
        found = decode_records(data)
        expand(found)
    except RemoteProtocolError:
        return
    for record in found.records:
        assert record.number is None or isinstance(record.number, Decimal)
    status_word(found, 0, 3)
    registers(found, 7, CODES)


@given(
    st.sampled_from([1, 2, 3, 4, 9, 10, 11, 12]),
    st.integers(0, 3),
    st.lists(st.integers(0, 99), min_size=1, max_size=8),
    st.integers(0, 10**7),
    st.booleans(),
)
def test_profiles_are_sums(coding, mode, steps, base, inverse):
    """Each element is what the norm's table of modes says, counted on from the one before."""
    size = LENGTHS.get(coding) or {10: 2, 11: 3}[coding]

    def coded(value):
        if coding < 8:
            return value.to_bytes(size, "little")
        return bytes.fromhex(f"{value:0{2 * size}d}")[::-1]

    data = bytes((mode << 6 | 2 << 4 | coding, 1)) + b"".join(coded(step) for step in steps)
    vife = 0x13 if inverse else 0x1F
    apl = b"\x0c\x13" + bytes.fromhex(f"{base:08d}")[::-1]
    apl += bytes((0x0D, 0x93, vife, len(data))) + data
    (profile,) = expand(decode_records(apl))
    wanted, last = [], base
    for step in steps:
        forward = {0: 0, 1: step, 2: -step, 3: step}[mode]
        last = step if mode == 0 else last - forward if inverse else last + forward
        wanted.append(last)
    assert list(profile.values) == wanted
    start = datetime(2026, 3, 31, 10)
    hours = [(profile.moment(start, n) - start).total_seconds() / 3600 for n in (1, 2)]
    assert hours == ([-1, -2] if inverse else [1, 2])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("0D931300", "without spacing"),
        ("0D93130112", "without spacing"),
        ("0D93130362FF01", "do not fit"),
        ("0D93130462000100", "spacing value"),
        ("0D931304720000", "within"),
        ("0D93130262FF", "spacing value"),
        ("0D9313030D0101", "do not fit"),
    ],
)
def test_damaged_profiles(data, why):
    with pytest.raises(RemoteProtocolError, match=why):
        expand(decode_records(bytes.fromhex(data)))


def test_after_an_invalid_element_nothing_is_known():
    apl = bytes.fromhex("0C13100000000D9313") + bytes((6, 0x62, 1, 1, 0, 0xFF, 0xFF))
    (profile,) = expand(decode_records(apl))
    assert profile.values == (9, None)
    apl = bytes.fromhex("0D9313") + bytes((4, 0x62, 1, 1, 0))
    assert expand(decode_records(apl))[0].values == (None,)  # no base


# -- OBIS map and status ---------------------------------------------------------------------------


@pytest.mark.req("LMN-10", "GW-04")
@pytest.mark.parametrize(
    ("device", "record", "obis"),
    [
        (0x03, "0C1401000000", "7-0:3.0.0*255"),
        (0x03, "0C943E01000000", "7-0:3.2.0*255"),
        (0x07, "0C1301000000", "8-0:1.0.0*255"),
        (0x06, "0C1301000000", "9-0:1.0.0*255"),
        (0x07, "4C1301000000", "8-0:1.2.0*255"),
        (0x04, "0C0601000000", "6-0:1.0.0*255"),
        (0x0C, "0C0E01000000", "6-0:1.0.0*255"),
        (0x0A, "0C0601000000", "5-0:1.0.0*255"),
        (0x08, "0B6E010000", "4-0:1.0.0*255"),
        (0x08, "4B6E010000", "4-0:1.2.0*255"),
        (0x02, "04833B01000000", "1-0:1.8.0*255"),
        (0x02, "04833C01000000", "1-0:2.8.0*255"),
        (0x07, "8C101301000000", None),  # tariff 1
        (0x07, "1C1301000000", None),  # maximum
        (0x1A, "0C1301000000", None),  # a smoke detector has no volume
        (0x07, "04FB2301000000", None),  # gallons
    ],
)
def test_obis_codes(device, record, obis):
    found = registers(decode_records(bytes.fromhex(record)), device, CODES)
    assert [str(value.obis) for value in found] == ([] if obis is None else [obis])


def test_a_map_of_ones_own():
    own = load_obis_map(
        '[[entry]]\ntypes = ["1A"]\nquantity = "volume"\nstorage = 3\nobis = "8-0:9.0.0"\n'
    )
    found = registers(decode_records(bytes.fromhex("CC011301000000")), 0x1A, own)
    assert str(found[0].obis) == "8-0:9.0.0*255"


@pytest.mark.parametrize(
    "text",
    ["=", "[[entry]]\ntypes = ['03']\n", "[[other]]\n", "x = 1",
     "[[entry]]\ntypes = ['03']\nquantity = 'volume'\nobis = 'x'\n",
     "[[entry]]\ntypes = ['GG']\nquantity = 'volume'\nobis = '7-0:3.0.0'\n"],
)  # fmt: skip
def test_a_wrong_map(text):
    with pytest.raises(ConfigError, match="OBIS map"):
        load_obis_map(text)


# Detailspezifikation v2.0 table 15.1, read off its rows: (octet, OMS bit with 7 the lowest) -> bit
ROWS = (
    [("EF1", n, n) for n in range(8)]
    + [("EF2", n, 8 + n) for n in range(8)]
    + [("EF3", n, 16 + n) for n in range(8)]
    + [("STS", n, 24 + n) for n in range(8)]
)


@pytest.mark.req("GW-N08")
@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_the_meter_word_bit_by_bit(ef1, ef2, ef3, sts):
    octets = {"EF1": ef1, "EF2": ef2, "EF3": ef3, "STS": sts}
    apl = decode_records(b"\x03\xfd\x17" + bytes((ef1, ef2, ef3)))
    water, gas = status_word(apl, sts, 0x07), status_word(apl, sts, 0x03)
    for name, oms, position in ROWS:
        there = bool(octets[name] & (0x80 >> oms))
        assert bool(water & bit(position)) == there
        assert bool(gas & bit(position)) == (there and name in {"EF1", "STS"})


@pytest.mark.parametrize(
    ("sts", "position"),
    [(0x04, 29), (0x08, 28), (0x10, 27), (0x01, 31), (0x02, 30)],
)
def test_the_status_octet_as_en_13757_numbers_it(sts, position):
    assert status_word(decode_records(b""), sts, 0x07) == bit(position)


def test_error_flags_of_one_octet():
    assert error_flags(decode_records(b"\x01\xfd\x17\x40")) == b"\x40\0\0"
    assert error_flags(decode_records(b"\x04\xfd\x17\x01\x02\x03\x04")) == b"\1\2\3"
    assert error_flags(decode_records(b"\x42\xfd\x17\x40\x00")) == b"\0\0\0"  # storage 1


def test_real_numbers_become_exact_ones():
    (value,) = registers(decode_records(b"\x05\x16" + struct.pack("<f", 12.5)), 0x07, CODES)
    assert Decimal(value.value).scaleb(value.scaler) == Decimal("12.5")
    assert Function(0) is Function.INSTANTANEOUS


@pytest.mark.parametrize("data", [b"", b"\x68", b"\x68\x03\x04\x68\x08\x00\x72\x7a\x16"])
def test_what_is_no_wired_frame(data):
    with pytest.raises(RemoteProtocolError):
        decode_long_frame(data)


def test_wired_frames_are_checked():
    good = bytes.fromhex(VECTORS["oms_n2_2_wired_mbus_plain"]["telegram"])
    assert decode_long_frame(good).control == 0x08
    for index in range(len(good)):
        bad = bytearray(good)
        bad[index] ^= 0x10
        with pytest.raises(RemoteProtocolError):
            decode_long_frame(bytes(bad))


@pytest.mark.parametrize("spacing", [60, 90, 900, 3600, 5400, 86_400])
def test_a_meters_profile_tells_its_past(spacing):
    """Whatever the spacing: what is expanded is what the meter showed then."""
    meter = wireless("water", compact=5, spacing_s=spacing)
    found = decode_records(meter.records(NOW))
    (profile,) = expand(found)
    base = NOW.ns // (spacing * SECOND) * spacing
    for number, value in enumerate(profile.values, start=1):
        moment = WorldTime.from_seconds(base - number * spacing)
        assert value == meter.kind.value(moment, meter.seed)
    assert profile.spacing.seconds == spacing
