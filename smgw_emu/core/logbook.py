"""System, calibration and consumer logbooks (TR-03109-1 v1.0 chapter 11, T41 to T44).

Entries are append-only. System and consumer log are kept 15 months at least, the calibration log
for ever; nobody can change or clear a log, so there is no function for it. The consumer log holds
one row per reader: a consumer can only ever be given his own rows (T41).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from smgw_emu.core.events import Event, LogName, load_catalogue
from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.store import Store

Outcome = Literal["S", "F", "X"]
Notify = Callable[[Event, DeviceTime, Outcome, str, str], None]
"""(event, time, outcome, subject, text): what the GWA is told, in the same transaction."""
NO_SUBJECT = "0"  # AR 2418-6: default of subjectIdentity
MAX_MESSAGE = 16_384  # han-m2m.md 6.5
ENTRY_OCTETS = 100  # an entry beside its text; measured: 72 to 133 in stores of 5 000 entries


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry with the elements of T42.

    Attributes:
        number: record number, contiguous per log and reader.
        time: when it was written (device time, UTC).
        event: catalogue id ``VENDOR.EVENT.SUB``.
        level: I info, W warning, E error, F fatal.
        outcome: S success, F failure, X vendor-specific.
        subject: who or what caused it.
        user: for whom; always set in the consumer log.
        message: text as the device shows it (German).
        destination: address of the partner, if any.
        evidence: signature of transferred values, if any.
    """

    number: int
    time: DeviceTime
    event: str
    level: str
    outcome: str
    subject: str
    user: str
    message: str
    destination: str = ""
    evidence: bytes | None = None


class Logbooks:
    """Writes and reads the three logs.

    Args:
        store: where they live.
        users: consumer login -> logical name, for ``user`` and to know whom "all" means.
        catalogue: events by name; default: the built-in catalogue.

    Attributes:
        notify: tells the administrator of events the catalogue marks so.
        look_at: octets in the logs at which ``on_full`` is told, once.
        on_write: told the name of every event, inside the transaction that writes it.
        on_full: the logs have grown to ``look_at``; called inside the write that did it.
    """

    def __init__(
        self,
        store: Store,
        users: Mapping[str, str],
        catalogue: Mapping[str, Event] | None = None,
    ) -> None:
        self._store = store
        self.notify: Notify | None = None
        self.look_at = 1 << 62
        self.on_write: Callable[[str], None] = lambda _name: None
        self.on_full: Callable[[], None] = lambda: None
        self._used: int | None = None
        self._users = dict(users)
        self._catalogue = catalogue if catalogue is not None else load_catalogue()

    def set_users(self, users: Mapping[str, str]) -> None:
        """Take the consumers anew after a change of the configuration."""
        self._users = dict(users)

    def write(
        self,
        name: str,
        now: DeviceTime,
        *,
        consumers: Iterable[str] = (),
        outcome: Outcome = "S",
        subject: str = NO_SUBJECT,
        destination: str = "",
        evidence: bytes | None = None,
        **parameters: object,
    ) -> None:
        """Append an event to every log its catalogue entry names, durably.

        Args:
            name: name of the catalogue entry.
            now: device time.
            consumers: whose consumer log it reaches, where the entry is for one.
            outcome: S, F or X (T42).
            subject: process, component, user or profile that caused the event.
            destination: address of the partner.
            evidence: signature of the transferred values.
            parameters: fill the entry's text.
        """
        event = self._catalogue[name]
        message = event.text.format_map(_Gaps(parameters))[:MAX_MESSAGE]
        readers: list[tuple[LogName, str]] = []
        for log in event.logs:
            if log != "consumer":
                readers.append((log, ""))
            else:
                named = self._users if event.audience == "all" else dict.fromkeys(consumers)
                readers.extend((log, login) for login in named)
        with self._store.transaction():
            for log, reader in readers:
                self._append(log, reader, event, now, outcome, subject, message, destination,
                             evidence)  # fmt: skip
            if event.notify and self.notify is not None:
                self.notify(event, now, outcome, subject, message)
            self.on_write(name)

    def _append(
        self,
        log: LogName,
        reader: str,
        event: Event,
        now: DeviceTime,
        outcome: Outcome,
        subject: str,
        message: str,
        destination: str,
        evidence: bytes | None,
    ) -> None:
        self._store.execute(
            "INSERT INTO log_entry SELECT ?1, ?2, coalesce(max(number), 0) + 1, ?3, ?4, ?5, ?6,"
            " ?7, ?8, ?9, ?10, ?11 FROM log_entry WHERE log = ?1 AND reader = ?2",
            (log, reader, now.seconds, event.id, event.level, outcome, subject,
             self._users.get(reader, ""), message, destination, evidence),
        )  # fmt: skip
        self._grow(message)

    def newest(self) -> DeviceTime | None:
        """Return the newest moment in any log, None if they are empty."""
        row = self._store.execute("SELECT max(time) FROM log_entry")[0]
        return None if row[0] is None else DeviceTime.from_seconds(row[0])

    def entries(
        self,
        log: LogName,
        reader: str = "",
        *,
        begin: DeviceTime | None = None,
        end: DeviceTime | None = None,
        from_number: int | None = None,
        count: int = 1500,
    ) -> list[LogEntry]:
        """Return entries with ``begin <= time < end`` and ``number >= from_number``, oldest first.

        At most ``count`` of them.
        """
        rows = self._store.execute(
            "SELECT number, time, event, level, outcome, subject, user, message, destination,"
            " evidence FROM log_entry WHERE log = ? AND reader = ? AND number >= ? AND time >= ?"
            " AND time < ? ORDER BY number LIMIT ?",
            (
                log,
                reader,
                from_number if from_number is not None else 0,
                begin.seconds if begin is not None else -(1 << 62),
                end.seconds if end is not None else 1 << 62,
                count,
            ),
        )
        return [LogEntry(row[0], DeviceTime.from_seconds(row[1]), *row[2:]) for row in rows]

    def last(self, log: LogName, reader: str = "", count: int = 100) -> list[LogEntry]:
        """Return the newest ``count`` entries, oldest first."""
        top = self._store.execute(
            "SELECT coalesce(max(number), 0) FROM log_entry WHERE log = ? AND reader = ?",
            (log, reader),
        )[0][0]
        return self.entries(log, reader, from_number=max(1, top - count + 1), count=count)

    def prune(self, before: DeviceTime) -> int:
        """Drop system and consumer entries older than ``before``; returns how many.

        The newest entry of each log stays, so numbers never start again; calibration entries are
        never dropped (TR-03109-1 v1.0 5.2).
        """
        self._store.execute(
            "DELETE FROM log_entry AS old WHERE log != 'calibration' AND time < ? AND number <"
            " (SELECT max(number) FROM log_entry WHERE log = old.log AND reader = old.reader)",
            (before.seconds,),
        )
        dropped = int(self._store.execute("SELECT changes()")[0][0])
        if dropped:
            self._used = None
        return dropped

    @property
    def used(self) -> int:
        """Octets of all entries; counted once, then kept up with every entry."""
        if self._used is None:
            total = self._store.execute(
                "SELECT count(*), coalesce(sum(length(CAST(message AS BLOB))), 0) FROM log_entry"
            )[0]
            self._used = int(total[0]) * ENTRY_OCTETS + int(total[1])
        return self._used

    def _grow(self, message: str) -> None:
        if self._used is not None:
            self._used += ENTRY_OCTETS + len(message.encode())
            if self._used >= self.look_at:
                self.look_at = 1 << 62
                self.on_full()


class _Gaps(dict[str, object]):
    """A template parameter nobody gave shows as a dash instead of failing the log entry."""

    def __missing__(self, key: str) -> str:
        return "-"
