"""Versions of profiles and when they were in force (GW-41; TR-03109-1 v1.0 T44).

A profile that is put in anew, changed or removed ends the version before it. Versions count from 1
and are never changed. What a consumer could see under an earlier version stays visible to him: the
meters a contract had before an exchange are found here (LMN-15).
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.store import Store
from smgw_emu.core.tariff import use_case
from smgw_emu.core.usage_point import UsagePoint


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a profile.

    Attributes:
        kind, name: of the profile.
        number: from 1.
        began, ended: when it was in force; None: it still is.
        body: its parameters, JSON without secrets.
    """

    kind: str
    name: str
    number: int
    began: DeviceTime
    ended: DeviceTime | None
    body: str


@dataclass(frozen=True, slots=True)
class Assignment:
    """A meter in a contract: ``began < target <= ended``; None is without bound."""

    meter: str
    series: str
    began: DeviceTime | None
    ended: DeviceTime | None


class History:
    """The versions of all profiles of one gateway."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, kind: str, name: str, body: str, now: DeviceTime) -> int:
        """Note a new version in the caller's transaction; returns its number."""
        self.end(kind, name, now)
        (last,) = self._store.execute(
            "SELECT coalesce(max(version), 0) FROM profile_version WHERE kind = ? AND id = ?",
            (kind, name),
        )[0]
        self._store.execute(
            "INSERT INTO profile_version VALUES (?, ?, ?, ?, NULL, ?)",
            (kind, name, last + 1, now.seconds, body),
        )
        return int(last) + 1

    def end(self, kind: str, name: str, now: DeviceTime) -> None:
        """Note that a profile is no longer in force."""
        self._store.execute(
            "UPDATE profile_version SET ended = ? WHERE kind = ? AND id = ? AND ended IS NULL",
            (now.seconds, kind, name),
        )

    def versions(self, kind: str | None = None, name: str | None = None) -> list[Version]:
        """Return versions of all profiles or of some, in the order they came into force.

        The clock may have been set back in between, so the order is that of the numbers.
        """
        rows = self._store.execute(
            "SELECT kind, id, version, began, ended, body FROM profile_version"
            " WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR id = ?2)"
            " ORDER BY kind, id, version",
            (kind, name),
        )
        return [_version(*row) for row in rows]

    def assignments(self, point: UsagePoint) -> list[Assignment]:
        """Return the meters a contract has had, and when; the present ones have no end.

        A meter that came later is seen from then on: before, its values were another contract's.
        """
        open_since: dict[tuple[str, str], DeviceTime | None] = {}
        found: list[Assignment] = []
        for version in self.versions("usage-point", point.name):
            old = msgspec.json.decode(version.body, type=UsagePoint)
            mine = _pairs(old) if old.consumer == point.consumer else []
            gone = [pair for pair in open_since if pair not in mine]
            found += [Assignment(*pair, open_since.pop(pair), version.began) for pair in gone]
            for pair in mine:
                open_since.setdefault(pair, None if version.number == 1 else version.began)
        present = _pairs(point)
        return [*found, *(Assignment(*pair, open_since.get(pair), None) for pair in present)]

    def prune(self, before: DeviceTime) -> None:
        """Forget versions that ended before a moment."""
        self._store.execute("DELETE FROM profile_version WHERE ended < ?", (before.seconds,))


def _version(
    kind: str, name: str, number: int, began: int, ended: int | None, body: str
) -> Version:
    end = None if ended is None else DeviceTime.from_seconds(ended)
    return Version(kind, name, number, DeviceTime.from_seconds(began), end, body)


def _pairs(point: UsagePoint) -> list[tuple[str, str]]:
    """Return meter and series of a contract."""
    series = use_case(point).series(point)
    return [(meter, series) for meter in point.keys]
