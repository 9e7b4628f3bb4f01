"""A modern electricity meter that speaks SML without being asked (optical port, push)."""

from __future__ import annotations

from lmn.sml import Message, encode_frame, encode_messages
from lmn.sml.bodies import CloseResponse, GetListResponse, ListEntry, OpenResponse, Time
from smgw_emu.bench.meters.load import LoadProfile
from smgw_emu.core.ids import DeviceId
from smgw_emu.core.instants import HOUR, SECOND, WorldTime
from smgw_emu.core.obis import ACTIVE_ENERGY_EXPORT, ACTIVE_ENERGY_IMPORT, ACTIVE_POWER
from smgw_emu.core.values import UNIT_WATT, UNIT_WATT_HOUR

# FNN Basiszaehler: type bit 2, load present 8, three phases 18-20; 11 sum direction -A
_STATUS_IDLE = 1 << 2 | 1 << 18 | 1 << 19 | 1 << 20
_STATUS_LOAD = 1 << 8
_STATUS_EXPORT = 1 << 11
_LIST_NAME = bytes.fromhex("0100620affff")
_OWN_ID = bytes.fromhex("0100600100ff")
_TENTH_WATT_HOUR = HOUR // 10  # watt-nanoseconds per 0.1 Wh
MAX_GAP = 400 * 24 * HOUR


class ElectricityMeter:
    """Counters that only rise, a load from a seed, SML frames.

    Args:
        device_id: 14-character id, e.g. ``1EMU0000000001``.
        start: when the counters begin to run.
        seed: load profile.
        solar: feed-in beside consumption.
        import_reading, export_reading: first counter states in 0.1 Wh.
    """

    def __init__(
        self,
        device_id: str,
        start: WorldTime,
        *,
        seed: int = 1,
        solar: bool = False,
        import_reading: int = 12_345_678,
        export_reading: int = 0,
    ) -> None:
        self.id = DeviceId.parse(device_id)
        self._load = LoadProfile(seed, solar=solar)
        self._start = self._last = start
        self._consumed = import_reading * _TENTH_WATT_HOUR
        self._fed_in = export_reading * _TENTH_WATT_HOUR
        self._transaction = 0
        self.status_faults = 0

    def advance(self, now: WorldTime) -> None:
        """Let the counters run up to ``now``; a time before the last one changes nothing."""
        if now <= self._last:
            return
        begin = max(self._last, now + -MAX_GAP)
        consumed, fed_in = self._load.energy(begin, now)
        self._consumed += consumed
        self._fed_in += fed_in
        self._last = now

    @property
    def import_reading(self) -> int:
        """Counter 1.8.0 in 0.1 Wh."""
        return self._consumed // _TENTH_WATT_HOUR

    @property
    def export_reading(self) -> int:
        """Counter 2.8.0 in 0.1 Wh."""
        return self._fed_in // _TENTH_WATT_HOUR

    def status(self, now: WorldTime) -> int:
        """Return the status word at ``now``, bit 0 the least significant."""
        power = self._load.power(now)
        word = _STATUS_IDLE | self.status_faults
        word |= _STATUS_LOAD if power else 0
        return word | (_STATUS_EXPORT if power < 0 else 0)

    def power(self, now: WorldTime) -> int:
        """Return the power in watts, positive for consumption."""
        return self._load.power(now)

    def seconds(self, now: WorldTime) -> int:
        """Return the seconds index: seconds since the meter was switched on for the first time."""
        return (now - self._start) // SECOND

    def frame(self, now: WorldTime) -> bytes:
        """Return the SML frame the meter sends at ``now``."""
        self.advance(now)
        power = self._load.power(now)
        status = self.status(now)
        clock = Time(1, self.seconds(now))
        server = self.id.server_id
        entries = (
            ListEntry(_OWN_ID, server),
            ListEntry(ACTIVE_ENERGY_IMPORT.octets, self.import_reading, UNIT_WATT_HOUR, -1, status),
            ListEntry(ACTIVE_ENERGY_EXPORT.octets, self.export_reading, UNIT_WATT_HOUR, -1),
            ListEntry(ACTIVE_POWER.octets, power, UNIT_WATT, 0),
        )
        file_id = self._next_transaction()
        bodies = (
            OpenResponse(None, None, file_id, server, clock, 1),
            GetListResponse(None, server, _LIST_NAME, clock, entries),
            CloseResponse(),
        )
        messages = [Message(self._next_transaction(), body) for body in bodies]
        return encode_frame(encode_messages(messages))

    def _next_transaction(self) -> bytes:
        self._transaction = (self._transaction + 1) & 0xFFFFFFFF
        return self._transaction.to_bytes(4, "big")
