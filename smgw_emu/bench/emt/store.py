"""Values of a market participant in SQLite, and their export as CSV."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from smgw_emu.bench.emt.checks import Finding, Quality, Value
from smgw_emu.core.instants import DeviceTime
from wan.delivery import Entry

_SCHEMA = """
CREATE TABLE IF NOT EXISTS delivery (
    uuid TEXT PRIMARY KEY, gateway TEXT, contract TEXT, received TEXT, count INTEGER
);
CREATE TABLE IF NOT EXISTS value (
    contract TEXT, name TEXT, target INTEGER, value INTEGER, scaler INTEGER, unit INTEGER,
    status TEXT, capture INTEGER, quality TEXT, uuid TEXT,
    PRIMARY KEY (contract, name, target)
);
CREATE TABLE IF NOT EXISTS finding (
    number INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT, kind TEXT, name TEXT, detail TEXT
);
"""
_FIELDS = ("contract", "register", "target", "value", "scaler", "unit", "status", "quality")


class ValueStore:
    """The values.

    Args:
        path: SQLite file; ``:memory:`` for tests.
    """

    def __init__(self, path: Path | str = ":memory:") -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def known(self, uuid: str) -> bool:
        """Tell whether a delivery came before (O12)."""
        return bool(self._db.execute("SELECT 1 FROM delivery WHERE uuid = ?", (uuid,)).fetchone())

    def add(
        self,
        uuid: str,
        gateway: str,
        contract: str,
        received: str,
        values: Iterable[Value],
        findings: Iterable[Finding],
    ) -> None:
        """Store a delivery, all or nothing; a measured value replaces a substitute, never back."""
        rows = list(values)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute(
                "INSERT INTO delivery VALUES (?, ?, ?, ?, ?)",
                (uuid, gateway, contract, received, len(rows)),
            )
            self._put(contract, rows, uuid)
            self._db.executemany(
                "INSERT INTO finding (uuid, kind, name, detail) VALUES (?, ?, ?, ?)",
                [(uuid, item.kind, item.column, item.detail) for item in findings],
            )
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def add_substitutes(self, contract: str, values: Iterable[Value]) -> None:
        """Store formed values where nothing usable is."""
        self._put(contract, list(values), "")

    def _put(self, contract: str, values: list[Value], uuid: str) -> None:
        self._db.executemany(
            "INSERT INTO value VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " value = excluded.value, scaler = excluded.scaler, unit = excluded.unit,"
            " status = excluded.status, capture = excluded.capture, quality = excluded.quality,"
            " uuid = excluded.uuid WHERE quality != 'measured'",
            [
                (contract, v.column, v.target.seconds, v.entry.value, v.entry.scaler, v.entry.unit,
                 v.entry.status, v.entry.capture.seconds, v.quality, uuid)
                for v in values
            ],
        )  # fmt: skip

    def values(self, contract: str = "") -> list[Value]:
        """Return stored values, by register and time."""
        rows = self._db.execute(
            "SELECT name, target, value, scaler, unit, status, capture, quality FROM value"
            " WHERE ? IN ('', contract) ORDER BY contract, name, target",
            (contract,),
        )
        return [
            Value(
                name,
                DeviceTime.from_seconds(target),
                Entry(value, scaler, unit, status, DeviceTime.from_seconds(capture)),
                Quality(quality),
            )
            for name, target, value, scaler, unit, status, capture, quality in rows
        ]

    def deliveries(self) -> list[dict[str, Any]]:
        """Return what came, oldest first."""
        names = ("uuid", "gateway", "contract", "received", "count")
        rows = self._db.execute("SELECT * FROM delivery ORDER BY rowid")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def findings(self) -> list[dict[str, str]]:
        """Return what was odd."""
        rows = self._db.execute("SELECT uuid, kind, name, detail FROM finding ORDER BY number")
        return [dict(zip(("uuid", "kind", "name", "detail"), row, strict=True)) for row in rows]

    def quality(self, contract: str = "") -> dict[str, int]:
        """Return the number of values by quality (WAN-54)."""
        rows = self._db.execute(
            "SELECT quality, count(*) FROM value WHERE ? IN ('', contract) GROUP BY quality",
            (contract,),
        )
        return dict(rows.fetchall())

    def export_csv(self, file: IO[str]) -> int:
        """Write all values; returns how many."""
        writer = csv.writer(file)
        writer.writerow(_FIELDS)
        rows = self._db.execute(
            "SELECT contract, name, target, value, scaler, unit, status, quality FROM value"
            " ORDER BY contract, name, target"
        )
        count = 0
        for contract, name, target, *rest in rows:
            writer.writerow((contract, name, DeviceTime.from_seconds(target).iso(), *rest))
            count += 1
        return count
