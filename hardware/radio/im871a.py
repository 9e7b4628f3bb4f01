"""IMST iM871A-USB: the HCI of its WMBus firmware (IMST spec v1.6; ``lmn-wireless.md`` 7.1).

``A5 | flags+endpoint | message | length | payload | {time 4} {rssi 1} {FCS 2}``. The high nibble of
the second octet tells which of the three fields at the end are there.
"""

from __future__ import annotations

from fastcrc import crc16

from hardware.radio.stick import Damage, Event, Heard, Step, Stick
from smgw_emu.core.instants import WorldTime

START = 0xA5
_DEVICE, _RADIO = 1, 2
_SET_CONFIG, _SET_CONFIG_ANSWER, _INFO, _INFO_ANSWER = 0x03, 0x04, 0x0F, 0x10
_RECEIVED = 0x03
_TIME, _RSSI, _CRC = 0x20, 0x40, 0x80
_TC, _T, _C, _S = 0x0A, 0x03, 0x06, 0x00  # C+T needs firmware 1.4; T1, C1 A, S1
_MODULES = {33: "iM871A", 36: "iM170A"}


def _crc(data: bytes) -> bytes:
    return int(crc16.ibm_sdlc(data)).to_bytes(2, "little")


class Im871a(Stick):
    """The driver."""

    BAUD = 57_600
    NAME = "iM871A"

    def steps(self) -> list[Step]:
        """Ask what it is, then set link mode, RSSI and time stamp (not kept in its memory)."""
        mode = _S if "S" in self.modes else _T if "C" not in self.modes else _TC
        if self.modes == {"C"}:
            mode = _C
        # IIF1 bit 1: link mode follows; IIF2 30: RSSI and time stamp follow
        config = bytes((START, _DEVICE, _SET_CONFIG, 6, 0x00, 0x02, mode, 0x30, 0x01, 0x00))
        return [
            Step("device information", bytes((START, _DEVICE, _INFO, 0))),
            Step("link mode", config),
        ]

    def _packet(self, begun: WorldTime, now: WorldTime) -> list[Event]:
        data = self._buffer
        if data[0] != START:
            return self._drop_until(START, "octets between packets")
        if len(data) < 4:
            return []
        flags, message, length = data[1], data[2], data[3]
        time = 4 if flags & _TIME else 0
        rssi = 1 if flags & _RSSI else 0
        crc = 2 if flags & _CRC else 0
        end = 4 + length + time + rssi
        if len(data) < end + crc:
            return []
        if crc and _crc(bytes(data[1:end])) != bytes(data[end : end + 2]):
            return self._drop_until(START, "wrong checksum of the receiver's packet")
        payload = bytes(data[4 : 4 + length])
        level = data[end - 1] if rssi else None
        del data[: end + crc]
        return self._message(flags & 0x0F, message, payload, level, begun, now)

    def _message(
        self,
        endpoint: int,
        message: int,
        payload: bytes,
        level: int | None,
        begun: WorldTime,
        now: WorldTime,
    ) -> list[Event]:
        if endpoint == _RADIO and message == _RECEIVED:
            if not 9 <= len(payload) <= 255:
                return [Damage("a telegram of impossible length", len(payload))]
            dbm = None if level is None else round(-100 + (level - 45) / 2)
            return [Heard(bytes((len(payload),)) + payload, "bare", begun, "", dbm)]
        if endpoint == _DEVICE and message == _INFO_ANSWER and payload:
            module = _MODULES.get(payload[0], f"module {payload[0]}")
            firmware = f", firmware {payload[2] >> 4}.{payload[2] & 15}" if len(payload) > 2 else ""
            self.text = module + firmware
            return self._answered(now, "device information")
        if endpoint == _DEVICE and message == _SET_CONFIG_ANSWER:
            return self._answered(now, "link mode")
        return []
