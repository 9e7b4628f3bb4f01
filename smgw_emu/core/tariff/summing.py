"""Sum of the readings of several meters at one target time (TAF1 and others)."""

from __future__ import annotations

from collections.abc import Sequence

from smgw_emu.core.values import INT64_MAX, Reading


def sum_readings(owner: str, readings: Sequence[Reading]) -> Reading | None:
    """Return one line for ``owner``: values added exactly, status words united.

    The scaler is the finest of the meters', so no digit is lost; the capture time is the latest.
    None if the sum does not fit a register of 64 bit.
    """
    scaler = min(reading.scaler for reading in readings)
    total = sum(reading.value * 10 ** (reading.scaler - scaler) for reading in readings)
    if abs(total) > INT64_MAX:
        return None
    smgw_word = meter_word = 0
    for reading in readings:
        smgw_word |= reading.smgw_word
        meter_word |= reading.meter_word
    return Reading(
        meter=owner,
        obis=readings[0].obis,
        target=readings[0].target,
        capture=max(reading.capture for reading in readings),
        value=total,
        scaler=scaler,
        unit=readings[0].unit,
        smgw_word=smgw_word,
        meter_word=meter_word,
        repeated=any(reading.repeated for reading in readings),
    )
