"""The wireless LMN: telegrams per second, from octets to registers with OBIS codes."""

from __future__ import annotations

import json
import time
import timeit
from collections.abc import Callable
from decimal import Decimal

import meterbus
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hsm_sim.meter_keys import MeterKey, derive, mac
from lmn.mbus.obis import load_obis_map, registers, status_word
from lmn.mbus.records import decode_records
from lmn.wmbus import Inbox, Meter
from lmn.wmbus.link import decode_a, encode_a
from lmn.wmbus.measured import measured
from smgw_emu import profiles
from smgw_emu.bench.meters.wireless import KINDS, WirelessMeter
from smgw_emu.bench.meters.wireless.meter import Options
from smgw_emu.core.instants import WorldTime, parse_device_time

Row = Callable[[str, str, str, str], None]
NOW = WorldTime(parse_device_time("2026-03-31T10:00:00Z").ns)
RULES = profiles.load("tr-2025/default").lmn_wireless
CODES = load_obis_map()
COUNT = 2_000


def _best(work: Callable[[], object], number: int) -> float:
    """Return the seconds of one call, the best of five rounds."""
    return min(timeit.repeat(work, number=number, repeat=5)) / number


def _accepted(security: int) -> tuple[float, int]:
    """Return seconds per telegram of a gas meter: checksums, MAC, counter, records, registers."""
    meter = WirelessMeter(KINDS["gas"], 12_345_678, Options(security=security))
    air = [encode_a(meter.frames(NOW)[0]) for _ in range(COUNT)]
    best = 1e9
    for _ in range(5):
        inbox = Inbox(RULES, {meter.address.octets: Meter("m", meter.key)})
        begin = time.process_time()
        for frame in air:
            result = inbox.take(decode_a(frame), NOW)
            assert result.application is not None
            values = measured(result.application, 3, CODES, NOW, actual=True)
            status_word(result.application, 0, 3)
            assert values[0].values
        best = min(best, (time.process_time() - begin) / COUNT)
    return best, len(air[0])


def _primitives(length: int) -> float:
    """Return seconds of the bare cryptography of a mode 7 telegram: two keys, a MAC, two blocks."""
    key, counter, meter, data = bytes(16), bytes(4), bytes(4), bytes(length)

    def work() -> None:
        enc = derive(key, MeterKey.K_ENC, counter, meter)
        mac(derive(key, MeterKey.K_MAC, counter, meter), data)
        cipher = Cipher(algorithms.AES(enc), modes.CBC(bytes(16))).decryptor()
        cipher.update(data[:32]) + cipher.finalize()

    return _best(work, COUNT)


def _long_frame(records: bytes) -> bytes:
    """Return records in a wired long frame, the form pyMeterBus reads."""
    body = b"\x08\xfd\x72\x78\x56\x34\x12\x93\x15\x33\x03\x2a\x00\x00\x00" + records
    head = bytes((0x68, len(body), len(body), 0x68))
    return head + body + bytes((sum(body) & 0xFF, 0x16))


def _against_pymeterbus() -> tuple[float, float]:
    """Return seconds per telegram, ours and theirs, on the same records: values as numbers."""
    samples = []
    for kind in KINDS.values():
        records = WirelessMeter(kind, 1, Options(security=0)).records(NOW)
        samples.append((records, _long_frame(records)))

    def ours() -> None:
        for records, _ in samples:
            application = decode_records(records)
            for record in application.records:
                _ = record.number
            registers(application, 7, CODES)

    def theirs() -> None:
        for _, frame in samples:
            for record in meterbus.load(frame).records:
                _ = record.interpreted

    mine = {r.header.octets.hex(): r.number for r in decode_records(samples[0][0]).records}
    them = json.loads(meterbus.load(samples[0][1]).to_JSON())["body"]["records"][0]["value"]
    assert abs(Decimal(str(them)) - Decimal(mine["0c13"] or 0)) < 1
    return _best(ours, 200) / len(samples), _best(theirs, 50) / len(samples)


def bench_radio(row: Row) -> None:
    """Measure, one row each."""
    base = _primitives(64)
    for security, target in ((7, "at least 15,000"), (10, "-")):
        seconds, length = _accepted(security)
        row(
            f"wM-Bus mode {security}, {length} octets on air to OBIS values, telegrams/s",
            f"{1 / seconds:,.0f}",
            target,
            f"{seconds / base:.1f} times the bare cryptography of mode 7",
        )
    mine, theirs = _against_pymeterbus()
    row(
        "M-Bus records of seven meters, telegrams/s",
        f"{1 / mine:,.0f}",
        "at least 3 times pyMeterBus",
        f"{theirs / mine:.1f} times pyMeterBus ({1 / theirs:,.0f})",
    )
