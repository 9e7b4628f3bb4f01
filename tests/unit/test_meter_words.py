"""Three meter words in two dialects (Detailspezifikation v2.0 table 15.1, wan.md 5.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tariff_lab import TariffLab, contract

from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.status import (
    Condition,
    Dialect,
    Fault,
    PtbStatus,
    WordKind,
    faults_of,
    meter_word,
    ptb_status,
    smgw_word,
    word_conditions,
    word_hex,
    word_kind,
)

words = st.integers(0, 2**32 - 1)
FNN, DS = Dialect.FNN_PTB, Dialect.DS_V2


def has(word: int, *bits: int) -> bool:
    """Printed order: bit 0 is the first digit's highest."""
    text = f"{word:032b}"
    return any(text[number] == "1" for number in bits)


@pytest.mark.req("GW-N08")
@given(words)
def test_faults_of_each_kind_agree_with_the_table(word):
    """The classes in brackets of table 15.1, read off its rows."""
    rows = {
        WordKind.ELECTRICITY: {Fault.TAMPER: (9, 10), Fault.FATAL: (17,)},
        WordKind.GAS: {Fault.WARNING: (8, 20, 21), Fault.TAMPER: (9, 10), Fault.FATAL: (17,)},
        WordKind.WIRELESS: {
            Fault.WARNING: (2, 4, 6, 10, 11, 12, 13, 29), Fault.ERROR: (3, 27, 30),
            Fault.TAMPER: (1, 7), Fault.FATAL: (5, 28),
        },
    }  # fmt: skip
    for kind, table in rows.items():
        found = faults_of(word, kind)
        for fault in Fault:
            assert bool(found & fault) == has(word, *table.get(fault, ())), (kind, fault)


@given(words, words)
def test_ptb_status_in_the_dialect_of_the_new_text(smgw, meter):
    """Bits 9, 13, 14 bar a value; 15 is a temporary error; the meter word by its kind."""
    kind = word_kind(smgw, meter, DS)
    assert (kind is WordKind.WIRELESS) == has(smgw, 17)
    fatal, tamper = (5, 28) if kind is WordKind.WIRELESS else (17,), (9, 10)
    if kind is WordKind.WIRELESS:
        tamper = (1, 7)
    expected = PtbStatus.NO_ERROR
    if has(smgw, 8) or has(meter, *fatal):
        expected = PtbStatus.FATAL_ERROR
    elif has(smgw, 9, 13, 14) or has(meter, *tamper):
        expected = PtbStatus.CRITICAL_TEMPORARY_ERROR
    elif has(smgw, 15):
        expected = PtbStatus.TEMPORARY_ERROR
    elif has(smgw, 12):
        expected = PtbStatus.WARNING
    assert ptb_status(smgw, meter, DS) == expected


@pytest.mark.parametrize(
    ("raw", "kind", "dialect", "shown"),
    [
        (4, WordKind.ELECTRICITY, FNN, "20000000"),
        (None, WordKind.ELECTRICITY, DS, "20000000"),
        (8, WordKind.GAS, FNN, "10000000"),
        (8 | 1 << 17, WordKind.GAS, FNN, "10004000"),
        (4, WordKind.GAS, FNN, "10000000"),  # an electricity word is none of a gas meter
        (None, WordKind.GAS, DS, "10000000"),
        (0x40000000, WordKind.WIRELESS, DS, "40000000"),
        (0x40000000, WordKind.WIRELESS, FNN, "20400000"),  # magnet: as the wired word says it
        (0x01000000, WordKind.WIRELESS, FNN, "20200000"),  # opened
        (0x00000008, WordKind.WIRELESS, FNN, "20004000"),  # permanent error
        (0x00400000, WordKind.WIRELESS, FNN, "20000000"),  # clock sync error is no magnet
        (-1, WordKind.WIRELESS, DS, "00000000"),
    ],
)
def test_words_on_the_wire(raw, kind, dialect, shown):
    """fnn-ptb has no bit that marks a wireless word, so it is shown as a wired one."""
    assert word_hex(meter_word(raw, kind, dialect)) == shown


@given(words)
def test_a_wireless_word_says_the_same_in_both_dialects(word):
    """Tamper and fatal faults give the same PTB status."""
    kind = WordKind.WIRELESS
    old = ptb_status(smgw_word((), FNN), meter_word(word, kind, FNN), FNN)
    new = ptb_status(smgw_word(word_conditions(word, kind), DS), meter_word(word, kind, DS), DS)
    worst = PtbStatus.CRITICAL_TEMPORARY_ERROR
    assert (old == new) or (old < worst and new < worst)


def test_conditions_of_a_wireless_word():
    """Bits 14, 15 and 17 of the gateway's word."""
    said = word_conditions(0x50000000, WordKind.WIRELESS)
    assert said == {Condition.WIRELESS, Condition.METER_TAMPER, Condition.METER_ERROR}
    assert word_hex(smgw_word(said, DS)) == "a0034000"
    assert word_conditions(0x50000000, WordKind.GAS) == set()


def test_a_tampered_water_meter_is_barred():
    """From the meter's telegram status to the derived register."""
    start, water = "2026-05-10T10:00:00Z", "0800010000ff"
    meters = (Meter("8EMU0000000001", obis=(water,), unit=13, word="wireless"),)
    point = contract("taf1-1", 1, start, meters=("8EMU0000000001",), end="2026-05-10T10:30:00Z")
    lab = TariffLab(point, start="2026-05-10T09:59:00Z", meters=meters)
    for minute, status in ((0, 0), (15, 0), (30, 0x40000000)):
        lab.feed(f"2026-05-10T10:{minute:02}:00Z", {water: minute}, meter="8EMU0000000001",
                 status=status, unit=13)  # fmt: skip
    assert [(x.value, x.repeated) for x in lab.lines("taf1-1", "derived")] == [
        (0, False), (15, True)
    ]  # fmt: skip
    assert "EMU.180.1" in lab.events()
