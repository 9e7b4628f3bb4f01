"""The gateway's flash: SQLite, one writer, WAL with ``synchronous=FULL`` (architecture, section 8).

What a transaction has committed survives a power cut at any moment. Damage is reported as
:class:`~smgw_emu.core.errors.StoreDamagedError`, which the device answers with a modelled state.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from smgw_emu.core.errors import StoreDamagedError, StoreError
from smgw_emu.core.instants import MILLISECOND, DeviceTime
from smgw_emu.core.obis import Obis
from smgw_emu.core.values import Reading

SCHEMA_VERSION = 3
_DAMAGE = ("malformed", "not a database", "corrupt", "disk i/o error", "no such table")
_INSERT = (
    "INSERT INTO reading (channel, target, capture, value, scaler, unit, smgw_word, meter_word,"
    " repeated, signature, reason) VALUES (?,?,?,?,?,?,?,?,?,?,?)"
)
_READING = (
    "r.sequence, r.target, r.capture, r.value, r.scaler, r.unit, r.smgw_word, r.meter_word,"
    " r.repeated, r.signature, c.owner, c.obis"
)


class Store:
    """An open state store.

    Args:
        path: the database file; ``:memory:`` keeps everything volatile (tests).

    Raises:
        StoreError: locked, or written by a newer version.
        StoreDamagedError: not a database, or its pages are inconsistent.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        self.closed = False
        self._depth = 0
        self._channels: dict[tuple[str, str, str, bytes], tuple[int, int]] = {}
        with self._guard():
            # one thread works with it, but the garbage collector may end it on another
            self._db = sqlite3.connect(
                self.path, isolation_level=None, timeout=5, check_same_thread=False
            )
        try:
            with self._guard():
                self._prepare()
        except StoreError:
            self._db.close()
            raise

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise self._failure(error) from error

    def _failure(self, error: sqlite3.DatabaseError) -> StoreError:
        """Return what an error of SQLite means for the device."""
        text = str(error).lower()
        if any(mark in text for mark in _DAMAGE):
            return StoreDamagedError(f"state store {self.path} is damaged: {error}")
        return StoreError(f"state store {self.path}: {error}")

    def _prepare(self) -> None:
        db = self._db
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA foreign_keys=ON")
        self.check()
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"state store {self.path} has schema {version}, this program knows {SCHEMA_VERSION}"
            )
        for step in range(version + 1, SCHEMA_VERSION + 1):
            script = resources.files("smgw_emu.core").joinpath("schema", f"v{step}.sql")
            sql = script.read_text("utf-8")
            db.executescript(f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version={step};\nCOMMIT;")

    def check(self) -> None:
        """Check the pages of the file (SQLite ``quick_check``).

        Raises:
            StoreDamagedError: with SQLite's first finding.
        """
        with self._guard():
            finding = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if finding != "ok":
            raise StoreDamagedError(f"state store {self.path} is damaged: {finding}")

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self.closed = True
        self._db.close()

    def __del__(self) -> None:
        if hasattr(self, "_db"):  # a store that could not be opened has none
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Group writes: all of them are durable when the outermost block ends, or none."""
        if self._depth:
            yield
            return
        self._depth = 1
        try:
            with self._guard():
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    self._channels.clear()
                    raise
                self._db.execute("COMMIT")
        finally:
            self._depth = 0

    def execute(self, sql: str, parameters: Iterable[Any] = ()) -> list[Any]:
        """Run one statement and return its rows.

        Raises:
            StoreError, StoreDamagedError: as the class says.
        """
        try:  # not _guard: this is the hot path
            return self._db.execute(sql, tuple(parameters)).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._failure(error) from error

    def used_kib(self) -> int:
        """Return the size of the file's used pages in KiB."""
        pages = (
            self.execute("PRAGMA page_count")[0][0] - self.execute("PRAGMA freelist_count")[0][0]
        )
        return int(pages * self.execute("PRAGMA page_size")[0][0] // 1024)

    # -- meta ------------------------------------------------------------------------------

    def get_meta(self, key: str) -> str | None:
        """Return a remembered text, None if there is none."""
        rows = self.execute("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else None

    def set_meta(self, key: str, value: str) -> None:
        """Remember a text."""
        self.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # -- value lists -----------------------------------------------------------------------

    def add_reading(
        self, database: str, owner: str, series: str, reading: Reading, reason: str = ""
    ) -> int:
        """Append a line to a value list; returns its sequence number.

        ``reason`` says why it was written, "" for the end of a registration period.

        Raises:
            StoreError: the list already has a line for that target.
        """
        channel = self._channel(database, owner, series, reading.obis, reading.scaler)
        row = (
            channel,
            reading.target.seconds,
            reading.capture.ns // MILLISECOND,
            reading.value,
            reading.scaler,
            reading.unit,
            reading.smgw_word,
            reading.meter_word,
            int(reading.repeated),
            reading.signature,
            reason,
        )
        try:
            cursor = self._db.execute(_INSERT, row)
        except sqlite3.DatabaseError as error:
            raise self._failure(error) from error
        return int(cursor.lastrowid or 0)

    def readings(
        self,
        database: str,
        owner: str,
        series: str,
        after: DeviceTime,
        until: DeviceTime,
    ) -> list[Reading]:
        """Return the lines with ``after < target <= until``, ascending by target."""
        rows = self.execute(
            f"SELECT {_READING} FROM reading r JOIN channel c ON c.id = r.channel"  # noqa: S608
            " WHERE c.database = ? AND c.owner = ? AND c.series = ? AND r.target > ?"
            " AND r.target <= ? ORDER BY r.target, c.obis",
            (database, owner, series, after.seconds, until.seconds),
        )
        return [_reading(row) for row in rows]

    def last_readings(
        self, database: str, owner: str, series: str, until: DeviceTime | None = None
    ) -> dict[Obis, Reading]:
        """Return the newest line of each register (not after ``until``)."""
        limit = until.seconds if until is not None else 1 << 62
        rows = self.execute(
            f"SELECT {_READING} FROM channel c JOIN reading r ON r.channel = c.id"  # noqa: S608
            " WHERE c.database = ? AND c.owner = ? AND c.series = ? AND r.target ="
            " (SELECT max(target) FROM reading WHERE channel = c.id AND target <= ?)"
            " ORDER BY c.obis",
            (database, owner, series, limit),
        )
        readings = [_reading(row) for row in rows]
        return {reading.obis: reading for reading in readings}

    def channels(self, database: str, owner: str, series: str) -> list[tuple[Obis, int, int]]:
        """Return the registers of a list, their number of lines and the finest scaler of them."""
        rows = self.execute(
            "SELECT c.obis, count(r.sequence), c.finest FROM channel c LEFT JOIN reading r"
            " ON r.channel = c.id WHERE c.database = ? AND c.owner = ? AND c.series = ?"
            " GROUP BY c.id ORDER BY c.obis",
            (database, owner, series),
        )
        return [(Obis(row[0]), row[1], row[2]) for row in rows]

    def drop_readings(self, database: str, before: DeviceTime) -> int:
        """Delete the lines of a database whose target is before a moment; returns how many."""
        with self._guard():
            cursor = self._db.execute(
                "DELETE FROM reading WHERE target < ? AND channel IN"
                " (SELECT id FROM channel WHERE database = ?)",
                (before.seconds, database),
            )
        return cursor.rowcount

    def oldest_reading(self, databases: Collection[str]) -> DeviceTime | None:
        """Return the oldest target in some databases, None if they are empty."""
        marks = ", ".join("?" * len(databases))
        rows = self.execute(
            "SELECT min(r.target) FROM channel c JOIN reading r ON r.channel = c.id"  # noqa: S608
            f" WHERE c.database IN ({marks})",
            databases,
        )
        target = rows[0][0]
        return None if target is None else DeviceTime.from_seconds(target)

    def count_readings(self) -> int:
        """Return the number of lines in all lists."""
        return int(self.execute("SELECT count(*) FROM reading")[0][0])

    def _channel(self, database: str, owner: str, series: str, obis: Obis, scaler: int) -> int:
        """Return a channel's number; a finer scaler than before is noted."""
        key = (database, owner, series, obis.octets)
        known = self._channels.get(key)
        if known is None:
            self.execute(
                "INSERT OR IGNORE INTO channel (database, owner, series, obis, finest)"
                " VALUES (?, ?, ?, ?, ?)",
                (*key, scaler),
            )
            rows = self.execute(
                "SELECT id, finest FROM channel"
                " WHERE database = ? AND owner = ? AND series = ? AND obis = ?",
                key,
            )
            known = self._channels[key] = int(rows[0][0]), int(rows[0][1])
        if scaler < known[1]:
            self.execute("UPDATE channel SET finest = ? WHERE id = ?", (scaler, known[0]))
            self._channels[key] = known[0], scaler
        return known[0]


def _reading(row: tuple[Any, ...]) -> Reading:
    sequence, target, capture, value, scaler, unit, smgw, meter, repeated, signature = row[:10]
    return Reading(
        meter=row[10],
        obis=Obis(row[11]),
        target=DeviceTime.from_seconds(target),
        capture=DeviceTime(capture * MILLISECOND),
        value=value,
        scaler=scaler,
        unit=unit,
        smgw_word=smgw,
        meter_word=meter,
        repeated=bool(repeated),
        signature=signature,
        sequence=sequence,
    )
