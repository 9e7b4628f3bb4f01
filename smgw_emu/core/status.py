"""The 64-bit status word: gateway word and meter word, and the PTB status derived from it.

Wire form (GW-N06, ``han-m2m.md`` section 8): eight hex digits each, *bit 0 is the most
significant bit of the first digit*; an idle gateway is ``a0000000`` (bits 0 and 2 identify it),
an idle wired electricity meter ``20000000`` (bit 2). Words are held as ``int`` in that printed
order. Two dialects exist (GW-N07, GW-N08); a condition without a bit in a dialect is not shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum

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
    return int.from_bytes(raw.to_bytes(4, "little").translate(_REVERSED), "big")


class PtbStatus(IntEnum):
    """PTB status of a value (AR 2418-6, TRuDI ``StatusPTB``)."""

    NO_ERROR = 0
    WARNING = 1
    TEMPORARY_ERROR = 2
    CRITICAL_TEMPORARY_ERROR = 3
    FATAL_ERROR = 4


_CRITICAL_SMGW = bit(9) | bit(14)
_CRITICAL_METER = METER_MAGNETIC | METER_MECHANICAL


def ptb_status(smgw: int, meter: int) -> PtbStatus:
    """Map a word pair of dialect ``fnn-ptb`` to its PTB status, first match wins (GW-N07)."""
    if smgw & bit(8) or meter & METER_FATAL:
        return PtbStatus.FATAL_ERROR
    if smgw & _CRITICAL_SMGW or meter & _CRITICAL_METER:
        return PtbStatus.CRITICAL_TEMPORARY_ERROR
    if smgw & bit(13):
        return PtbStatus.TEMPORARY_ERROR
    if smgw & bit(12):
        return PtbStatus.WARNING
    return PtbStatus.NO_ERROR
