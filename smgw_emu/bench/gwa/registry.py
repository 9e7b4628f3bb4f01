"""What an administrator remembers: devices, certificates, history, events (WAN-14)."""

from __future__ import annotations

import sqlite3
import ssl
from dataclasses import dataclass
from pathlib import Path

from smgw_emu.bench.gwa.note import NotedDevice
from smgw_emu.core.errors import SmgwError
from wan.certificates import common_name, load

_SCHEMA = """
CREATE TABLE IF NOT EXISTS device (
    id TEXT PRIMARY KEY, model TEXT, firmware TEXT, state TEXT, wakeup TEXT, transport TEXT,
    generation INTEGER, sub_ca BLOB
);
CREATE TABLE IF NOT EXISTS certificate (
    device TEXT, generation INTEGER, purpose TEXT, der BLOB,
    PRIMARY KEY (device, generation, purpose)
);
CREATE TABLE IF NOT EXISTS history (
    number INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT, device TEXT, kind TEXT, result TEXT,
    detail TEXT
);
CREATE TABLE IF NOT EXISTS event (
    uuid TEXT PRIMARY KEY, device TEXT, time TEXT, event TEXT, name TEXT, level TEXT,
    outcome TEXT, message TEXT
);
"""
PURPOSES = ("tls", "sig", "enc")


@dataclass(frozen=True, slots=True)
class Known:
    """A device of the registry; ``certificates``: purpose -> DER of the generation in use."""

    id: str
    state: str
    generation: int
    wakeup: str
    transport: str
    certificates: dict[str, bytes]


class UnknownDeviceError(SmgwError):
    """No delivery note has named the device."""


class Registry:
    """The memory.

    Args:
        path: SQLite file; ``:memory:`` for tests.
    """

    def __init__(self, path: Path | str = ":memory:") -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- devices ---------------------------------------------------------------------------

    def import_device(self, device: NotedDevice) -> None:
        """Take a device from a delivery note (GW-23 step 1)."""
        name = device.id.upper()
        self._db.execute(
            "INSERT OR REPLACE INTO device VALUES (?, ?, ?, 'noted', ?, ?, 0, ?)",
            (name, device.model, device.firmware, device.wakeup, device.transport,
             ssl.PEM_cert_to_DER_cert(device.sub_ca)),
        )  # fmt: skip
        self.set_certificates(
            name, 0, {p: ssl.PEM_cert_to_DER_cert(getattr(device, p)) for p in PURPOSES}
        )

    def set_certificates(self, device: str, generation: int, triple: dict[str, bytes]) -> None:
        """Note the certificates of a generation and make it the expected one."""
        for purpose, der in triple.items():
            self._db.execute(
                "INSERT OR REPLACE INTO certificate VALUES (?, ?, ?, ?)",
                (device, generation, purpose.lower(), der),
            )
        self._db.execute("UPDATE device SET generation = ? WHERE id = ?", (generation, device))

    def set_state(self, device: str, state: str) -> None:
        """Note where a device is: noted, connected, commissioned, decommissioned, blocked."""
        self._db.execute("UPDATE device SET state = ? WHERE id = ?", (state, device))

    def set_wakeup(self, device: str, address: str) -> None:
        """Note the address of a device's wake-up service."""
        self._db.execute("UPDATE device SET wakeup = ? WHERE id = ?", (address, device.upper()))

    def devices(self) -> list[Known]:
        """Return all devices."""
        return [
            self.device(row[0]) for row in self._db.execute("SELECT id FROM device ORDER BY id")
        ]

    def device(self, name: str) -> Known:
        """Return one device.

        Raises:
            UnknownDeviceError: not in the registry.
        """
        rows = self._db.execute(
            "SELECT id, state, generation, wakeup, transport FROM device WHERE id = ?",
            (name.upper(),),
        ).fetchall()
        if not rows:
            raise UnknownDeviceError(f"no delivery note has named {name}")
        found = self._db.execute(
            "SELECT purpose, der FROM certificate WHERE device = ? AND generation = ?",
            (rows[0][0], rows[0][2]),
        )
        name_, state, generation, wakeup, transport = rows[0]
        return Known(name_, state, generation, wakeup, transport, dict(found.fetchall()))

    def owner(self, tls: bytes) -> str:
        """Return whose TLS certificate this is, of any generation not replaced by a used one.

        Raises:
            UnknownDeviceError: nobody's.
        """
        rows = self._db.execute(
            "SELECT device FROM certificate WHERE purpose = 'tls' AND der = ?", (tls,)
        ).fetchall()
        if not rows:
            raise UnknownDeviceError(f"unknown certificate {common_name(load(tls))!r}")
        return str(rows[0][0])

    # -- history ---------------------------------------------------------------------------

    def note(self, time: str, device: str, kind: str, result: str, detail: str = "") -> None:
        """Append to the communication history."""
        self._db.execute(
            "INSERT INTO history (time, device, kind, result, detail) VALUES (?, ?, ?, ?, ?)",
            (time, device, kind, result, detail[:500]),
        )

    def history(self, device: str = "", count: int = 100) -> list[dict[str, str]]:
        """Return the newest entries, oldest first."""
        rows = self._db.execute(
            "SELECT time, device, kind, result, detail FROM history WHERE ? IN ('', device)"
            " ORDER BY number DESC LIMIT ?",
            (device.upper(), count),
        ).fetchall()
        names = ("time", "device", "kind", "result", "detail")
        return [dict(zip(names, row, strict=True)) for row in reversed(rows)]

    # -- events ----------------------------------------------------------------------------

    def add_event(self, uuid: str, device: str, fields: tuple[str, ...]) -> bool:
        """Store a notification; returns False for one that came before."""
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (uuid, device, *fields)
        )
        return cursor.rowcount == 1

    def events(self, device: str = "", name: str = "") -> list[dict[str, str]]:
        """Return notifications in the order they came."""
        rows = self._db.execute(
            "SELECT device, time, event, name, level, outcome, message FROM event"
            " WHERE ? IN ('', device) AND ? IN ('', name) ORDER BY rowid",
            (device.upper(), name),
        ).fetchall()
        names = ("device", "time", "event", "name", "level", "outcome", "message")
        return [dict(zip(names, row, strict=True)) for row in rows]
