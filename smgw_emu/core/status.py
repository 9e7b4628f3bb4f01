"""The 64-bit status word: gateway word and meter word, and the PTB status derived from it.

Wire form (GW-N06, ``han-m2m.md`` section 8): eight hex digits each, *bit 0 is the most
significant bit of the first digit*; an idle gateway is ``a0000000`` (bits 0 and 2 identify it),
an idle wired electricity meter ``20000000`` (bit 2). Words are held as ``int`` in that printed
order. Two dialects exist (GW-N07, GW-N08); a condition without a bit in a dialect is not shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, IntFlag, StrEnum

WORD_BITS = 32


def bit(number: int) -> int:
    """Return the mask of printed bit ``number`` (0 = most significant)."""
    return 1 << (WORD_BITS - 1 - number)


def word_hex(word: int) -> str:
    """Return the eight hex digits of a word."""
    return f"{word:08x}"


class Dialect(StrEnum):
    """Which meaning bits 13 to 17 of the gateway word have."""

    FNN_PTB = "fnn-ptb"
    """CONEXA 3.x in the field (GW-N07)."""
    DS_V2 = "ds-v2"
    """Detailspezifikation v2.0 table 15.1 (GW-N08)."""


class Condition(StrEnum):
    """What the gateway can say about a value."""

    NOT_FOR_BILLING = "not-for-billing"
    FATAL = "fatal"
    TIME_INVALID = "time-invalid"
    WARNING = "warning"
    SUBSTITUTE = "temporary-usable-as-substitute"
    UNUSABLE = "temporary-unusable"
    NO_VALUE = "no-value-in-window"
    METER_TAMPER = "meter-tamper"
    METER_ERROR = "meter-error"
    TRIGGERED = "value-triggered"
    WIRELESS = "wireless-meter-word"


_COMMON = {
    Condition.NOT_FOR_BILLING: 1,
    Condition.FATAL: 8,
    Condition.TIME_INVALID: 9,
    Condition.WARNING: 12,
}
BITS: dict[Dialect, dict[Condition, int]] = {
    # A missed registration shows bit 14: the sample e0020000 of IF_GW_CON A-2.6 (GW-N09).
    Dialect.FNN_PTB: {
        **_COMMON,
        Condition.SUBSTITUTE: 13,
        Condition.UNUSABLE: 14,
        Condition.NO_VALUE: 14,
    },
    Dialect.DS_V2: {
        **_COMMON,
        Condition.NO_VALUE: 13,
        Condition.METER_TAMPER: 14,
        Condition.METER_ERROR: 15,
        Condition.TRIGGERED: 16,
        Condition.WIRELESS: 17,
    },
}

SMGW_IDLE = bit(0) | bit(2)
METER_IDLE = bit(2)

METER_MAGNETIC = bit(9)
METER_MECHANICAL = bit(10)
METER_FATAL = bit(17)


def smgw_word(conditions: Iterable[Condition], dialect: Dialect) -> int:
    """Return the gateway word for a set of conditions."""
    table = BITS[dialect]
    word = SMGW_IDLE
    for condition in conditions:
        number = table.get(condition)
        if number is not None:
            word |= bit(number)
    return word


_REVERSED = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))


def meter_word_from_sml(raw: int | None) -> int:
    """Turn the status of an SML register (bit 0 = least significant) into the wire word.

    A missing status means no fault (Detailspezifikation v2.0 9.3). Only the FNN Basiszaehler
    layout (bit 2 set, bits 0 and 1 clear) is taken over; older EDL21 words (0x182 and the like)
    mean something else and must not be read with this table (``lmn-wired.md`` 1.7), so they
    give an idle word.
    """
    if raw is None or not 0 <= raw < 1 << WORD_BITS or raw & 0b111 != 0b100:
        return METER_IDLE
    return _reverse(raw)


def _reverse(raw: int) -> int:
    return int.from_bytes(raw.to_bytes(4, "little").translate(_REVERSED), "big")


class WordKind(StrEnum):
    """Which of the three meter words (``wan.md`` 5.4, Detailspezifikation v2.0 table 15.1)."""

    ELECTRICITY = "electricity"
    """Wired electricity, FNN Basiszaehler: bit 2 set."""
    GAS = "gas"
    """Wired gas, DVGW G 697: bit 3 set, bit 2 clear."""
    WIRELESS = "wireless"
    """OMS; no bit of its own marks it, the gateway word's bit 17 does (dialect ds-v2)."""


class Fault(IntFlag):
    """What a meter word reports, in the classes of table 15.1."""

    WARNING = 1
    ERROR = 2
    TAMPER = 4
    FATAL = 8


def _bits(*numbers: int) -> int:
    return sum(bit(number) for number in numbers)


FAULT_BITS: dict[WordKind, dict[Fault, int]] = {
    WordKind.ELECTRICITY: {
        Fault.TAMPER: METER_MAGNETIC | METER_MECHANICAL,
        Fault.FATAL: METER_FATAL,
    },
    WordKind.GAS: {
        Fault.WARNING: _bits(8, 20, 21),
        Fault.TAMPER: _bits(9, 10),
        Fault.FATAL: METER_FATAL,
    },
    WordKind.WIRELESS: {
        Fault.WARNING: _bits(2, 4, 6, 10, 11, 12, 13, 29),
        Fault.ERROR: _bits(3, 27, 30),
        Fault.TAMPER: _bits(1, 7),
        Fault.FATAL: _bits(5, 28),
    },
}


def faults_of(word: int, kind: WordKind) -> Fault:
    """Return what a meter word reports."""
    found = Fault(0)
    for fault, mask in FAULT_BITS[kind].items():
        if word & mask:
            found |= fault
    return found


def word_kind(smgw: int, meter: int, dialect: Dialect) -> WordKind:
    """Tell which meter word stands in a status word."""
    if dialect is Dialect.DS_V2 and smgw & _WIRELESS_SMGW:
        return WordKind.WIRELESS
    if meter & _IS_GAS and not meter & _IS_ELECTRICITY:
        return WordKind.GAS
    return WordKind.ELECTRICITY


def meter_word(raw: int | None, kind: WordKind, dialect: Dialect) -> int:
    """Turn a meter's raw status into the word on the wire.

    ``raw``: wired: status of the SML register (bit 0 = least significant); wireless: the word
    itself in printed order; None: the meter sent none.

    ``fnn-ptb`` has no bit that marks a wireless word, and its readers would take it for a wired
    one; there tamper and fatal faults are shown in the bits of the electricity word [own choice].
    """
    if kind is WordKind.ELECTRICITY:
        return meter_word_from_sml(raw)
    if kind is WordKind.GAS:
        good = raw is not None and 0 <= raw < 1 << WORD_BITS and raw & 0b1111 == 0b1000
        return _reverse(raw or 0) if good else bit(3)
    word = raw if raw is not None and 0 <= raw < 1 << WORD_BITS else 0
    if dialect is Dialect.DS_V2:
        return word
    faults = faults_of(word, kind)
    shown = METER_IDLE
    if word & bit(1):
        shown |= METER_MAGNETIC
    if word & bit(7):
        shown |= METER_MECHANICAL
    return shown | (METER_FATAL if faults & Fault.FATAL else 0)


def word_conditions(word: int, kind: WordKind) -> set[Condition]:
    """Return what the gateway's word says because of a wireless meter's word (bits 14, 15, 17)."""
    if kind is not WordKind.WIRELESS:
        return set()
    faults = faults_of(word, kind)
    conditions = {Condition.WIRELESS}
    if faults & Fault.TAMPER:
        conditions.add(Condition.METER_TAMPER)
    # bit 15 is MTR_Error (rows 3, 27, 30 bear that name); its text names "permanent error" (28) too
    if faults & Fault.ERROR or word & bit(28):
        conditions.add(Condition.METER_ERROR)
    return conditions


class PtbStatus(IntEnum):
    """PTB status of a value (AR 2418-6, TRuDI ``StatusPTB``)."""

    NO_ERROR = 0
    WARNING = 1
    TEMPORARY_ERROR = 2
    CRITICAL_TEMPORARY_ERROR = 3
    FATAL_ERROR = 4


_FATAL_SMGW, _WIRELESS_SMGW, _IS_ELECTRICITY, _IS_GAS = bit(8), bit(17), bit(2), bit(3)
_MASKS = {
    kind: (table.get(Fault.FATAL, 0), table.get(Fault.TAMPER, 0))
    for kind, table in FAULT_BITS.items()
}
# fnn-ptb: time invalid, value unusable. ds-v2 (table 15.1): time invalid, no value, meter tamper;
# the text gives no mapping to a PTB status, this is our reading.
_CRITICAL_SMGW = {
    Dialect.FNN_PTB: bit(9) | bit(14),
    Dialect.DS_V2: bit(9) | bit(13) | bit(14),
}
_TEMPORARY_SMGW = {Dialect.FNN_PTB: bit(13), Dialect.DS_V2: bit(15)}


def ptb_status(smgw: int, meter: int, dialect: Dialect = Dialect.FNN_PTB) -> PtbStatus:
    """Map a word pair to its PTB status, first match wins (GW-N07)."""
    fatal, tamper = _MASKS[word_kind(smgw, meter, dialect)]
    if smgw & _FATAL_SMGW or meter & fatal:
        return PtbStatus.FATAL_ERROR
    if smgw & _CRITICAL_SMGW[dialect] or meter & tamper:
        return PtbStatus.CRITICAL_TEMPORARY_ERROR
    if smgw & _TEMPORARY_SMGW[dialect]:
        return PtbStatus.TEMPORARY_ERROR
    if smgw & bit(12):
        return PtbStatus.WARNING
    return PtbStatus.NO_ERROR
