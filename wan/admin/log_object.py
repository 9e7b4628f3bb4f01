"""System and calibration log as the administrator reads them (T41)."""

from __future__ import annotations

from collections.abc import Callable

from smgw_emu.core.events import LogName
from wan.admin.base import Plain, date_time
from wan.admin.facilities import Facilities
from wan.cosem.address import Query
from wan.cosem.data import Data, array, octets, structure, text, unsigned32
from wan.cosem.selection import select

MAX_LOG_ROWS = 5000  # own choice: keeps an answer below 4 MiB; a reader goes on with q.fromtime
LOGS: dict[str, LogName] = {"0000636201ff": "system", "0000636202ff": "calibration"}
GATEWAY, SETTINGS = "0000608000ff", "0000608001ff"
DEVICE_NAME, CLOCK = "00002a0000ff", "0000010000ff"
IMAGES, SECURITY = "00002c0000ff", "00002b0000ff"


class LogObject(Plain):
    """A log as a profile generic buffer; who reads it cannot change it (T41, 4.5.3)."""

    class_id = 7
    _COLUMNS = ("record_number", "datetime", "event", "level", "outcome", "subject_identity",
                "message", "destination")  # fmt: skip

    def __init__(self, facilities: Facilities, name: str) -> None:
        super().__init__(facilities)
        self.name = name
        self._log = LOGS[name]
        self._captured = [(1, f"00006081{n:02x}ff", 2) for n in range(1, len(self._COLUMNS) + 1)]

    def attributes(self) -> dict[int, Callable[[], Data]]:
        """Return what the class table names."""
        return {
            3: self._capture_objects,
            4: lambda: unsigned32(0),
            5: lambda: Data("enum", 1),  # fifo
            6: structure,
            7: lambda: unsigned32(self._newest()),
            8: lambda: unsigned32(0xFFFFFFFF),  # grows: 15 months, calibration for ever
        }

    def _capture_objects(self) -> Data:
        return array(
            *(
                structure(
                    Data("long-unsigned", class_id),
                    octets(bytes.fromhex(name)),
                    Data("integer", attribute),
                    Data("long-unsigned", 0),
                )
                for class_id, name, attribute in self._captured
            )
        )

    def _newest(self) -> int:
        last = self.facilities.device.logbooks.last(self._log, count=1)
        return last[0].number if last else 0

    def read(self, index: int, query: Query) -> Data:
        """Return an attribute; the buffer cut by time and window."""
        if index != 2:
            return super().read(index, query)
        entries = self.facilities.device.logbooks.entries(
            self._log, begin=query.begin, end=query.end, count=MAX_LOG_ROWS
        )
        rows = (
            structure(
                unsigned32(entry.number),
                date_time(entry.time),
                text(entry.event),
                text(entry.level),
                text(entry.outcome),
                text(entry.subject),
                text(entry.message),
                text(entry.destination),
            )
            for entry in entries
        )
        return select(array(*rows), self._captured, query)
