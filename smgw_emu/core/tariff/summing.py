"""Sum of the readings of several meters at one target time (TAF1 and others)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from smgw_emu.core.values import Reading, scaled


def sum_readings(owner: str, readings: Sequence[Reading]) -> Reading:
    """Return one line for ``owner``: values added exactly, status words united.

    The scaler is the finest of the meters', so no digit is lost; the capture time is the latest.
    """
    scaler = min(reading.scaler for reading in readings)
    total = sum((scaled(reading.value, reading.scaler) for reading in readings), Decimal(0))
    smgw_word = meter_word = 0
    for reading in readings:
        smgw_word |= reading.smgw_word
        meter_word |= reading.meter_word
    return Reading(
        meter=owner,
        obis=readings[0].obis,
        target=readings[0].target,
        capture=max(reading.capture for reading in readings),
        value=int(total.scaleb(-scaler)),
        scaler=scaler,
        unit=readings[0].unit,
        smgw_word=smgw_word,
        meter_word=meter_word,
        repeated=any(reading.repeated for reading in readings),
    )
