"""OBIS codes, device ids and status words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.ids import DeviceId
from smgw_emu.core.obis import Obis
from smgw_emu.core.status import (
    BITS,
    METER_IDLE,
    SMGW_IDLE,
    Condition,
    Dialect,
    PtbStatus,
    bit,
    meter_word_from_sml,
    ptb_status,
    smgw_word,
    word_hex,
)


@given(st.binary(min_size=6, max_size=6))
def test_obis_text_forms_round_trip(octets):
    """Hex and A-B:C.D.E*F name the same code."""
    obis = Obis(octets)
    assert Obis.parse(obis.hex) == Obis.parse(str(obis)) == Obis.parse(obis.hex.upper()) == obis


@pytest.mark.parametrize("text", ["", "1.8.0", "0100010800", "1-0:1.8.256", "xx00010800ff"])
def test_other_obis_texts_are_refused(text):
    """A code needs all groups in range."""
    with pytest.raises(RemoteProtocolError):
        Obis.parse(text)


@pytest.mark.req("TR-03109-1 v1.0 4.3.2")
@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("1-0:1.8.0", True),
        ("1-0:1.8.1", False),
        ("7-0:3.0.0", True),
        ("7-0:3.1.0", False),
        ("7-1:3.0.0", False),
        ("8-0:1.0.0", True),
        ("8-0:1.0.1", False),
        ("6-0:1.0.0", True),
        ("1-0:81.7.4", True),
        ("129-0:199.130.3", False),
    ],
)
def test_only_untariffed_registers_may_be_registered(text, allowed):
    """Electricity E = 0 or a present value; gas B = 0, C 3 or 6, D 0 or 6, E = 0; others E = 0."""
    assert Obis.parse(text).can_be_registered is allowed


@pytest.mark.req("GW-N01")
def test_device_ids_convert_to_server_ids_and_back():
    """The real EMH meter of the recording of the address allocation."""
    device = DeviceId.from_server_id(bytes.fromhex("0a01454d4800004af1fd"))
    assert str(device) == "1EMH0004911613"
    assert DeviceId.parse("1 emh 00 0491 1613") == device
    assert device.server_id.hex() == "0a01454d4800004af1fd"


@given(
    st.integers(0, 15),
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=3, max_size=3),
    st.integers(0, 255),
    st.integers(0, 99_999_999),
)
def test_device_id_forms_round_trip(medium, letters, block, number):
    """Text and octets name the same device."""
    device = DeviceId(medium, letters, block, number)
    assert DeviceId.parse(device.lower) == device == DeviceId.from_server_id(device.server_id)


@pytest.mark.parametrize("octets", ["", "0901454d4800004af1fd", "0a01454d480005f5e100", "0a1145"])
def test_other_server_ids_are_refused(octets):
    """Wrong prefix, wrong length, number above eight digits."""
    with pytest.raises(RemoteProtocolError):
        DeviceId.from_server_id(bytes.fromhex(octets))


GOLDEN = {
    "A084000020000000": 4,
    "A002000020000000": 3,
    "A004000020000000": 2,
    "A008000020000000": 1,
    "A000000020000000": 0,
    "A040000020000000": 3,
    "A000000020400000": 3,
    "A000000020004000": 4,
}


@pytest.mark.req("GW-N07")
@pytest.mark.parametrize(("word", "expected"), GOLDEN.items())
def test_ptb_status_of_the_golden_vectors(word, expected):
    """The vectors of the transparency software's own tests, and one per further rule."""
    smgw, meter = int(word[:8], 16), int(word[8:], 16)
    assert ptb_status(smgw, meter) == expected


@pytest.mark.req("GW-N06")
@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (0x1C0104, "20803800"),  # DZG, EMH mME40, Holley
        (0x1C3104, "208c3800"),  # the field value of GW-N06
        (0x1C7904, "209e3800"),  # all directions -A
        (0x182, "20000000"),  # EDL21 layout: never read with the Basiszaehler table
        (0x1A2, "20000000"),
        (None, "20000000"),
        (1 << 40, "20000000"),
    ],
)
def test_meter_words_of_real_captures(raw, expected):
    """SML counts bits from the least significant, the wire word from the most significant."""
    assert word_hex(meter_word_from_sml(raw)) == expected


@pytest.mark.req("GW-N09")
def test_the_sample_of_the_interface_description():
    """A repeated value shows e0020000: bits 0, 1, 2 and 14."""
    word = smgw_word({Condition.NOT_FOR_BILLING, Condition.NO_VALUE}, Dialect.FNN_PTB)
    assert word_hex(word) == "e0020000"


@pytest.mark.req("GW-N08")
def test_dialects_differ_only_where_the_texts_do():
    """No value is bit 14 in the field's dialect and bit 13 in the 2024 text."""
    assert BITS[Dialect.DS_V2][Condition.NO_VALUE] == 13
    assert BITS[Dialect.FNN_PTB][Condition.FATAL] == BITS[Dialect.DS_V2][Condition.FATAL] == 8
    assert smgw_word({Condition.TRIGGERED}, Dialect.FNN_PTB) == SMGW_IDLE


def _naive_ptb(smgw: int, meter: int) -> int:
    """The rule of GW-N07 in its own words, on strings of bits."""
    s, m = f"{smgw:032b}", f"{meter:032b}"
    if s[8] == "1" or m[17] == "1":
        return 4
    if "1" in (s[9], s[14], m[9], m[10]):
        return 3
    return 2 if s[13] == "1" else int(s[12] == "1")


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_ptb_status_agrees_with_a_naive_reading(smgw, meter):
    """Precedence holds for every pair of words."""
    assert ptb_status(smgw, meter) == PtbStatus(_naive_ptb(smgw, meter))


@given(st.sets(st.sampled_from(list(Condition))), st.sampled_from(list(Dialect)))
def test_identification_bits_are_always_set(conditions, dialect):
    """Bits 0 and 2 identify the gateway word, bit 2 the meter word."""
    word = smgw_word(conditions, dialect)
    assert word & SMGW_IDLE == SMGW_IDLE == bit(0) | bit(2)
    assert bit(2) == METER_IDLE
    for condition, number in BITS[dialect].items():
        if condition in conditions:
            assert word & bit(number)
