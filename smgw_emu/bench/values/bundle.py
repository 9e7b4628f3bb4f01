"""Everything IF_GW_CON says of one contract in a period, in one record.

The members are the gateway's own JSON, so a bundle can come from any gateway and be kept as a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from smgw_emu.bench.consumer import HanClient
from smgw_emu.core.errors import ConfigError

WINDOW = timedelta(days=31)  # IF_GW_CON
LOG_PAGE = 1500  # IF_GW_CON
FORM = "smgw-emu contract bundle 1"

Progress = Callable[[str], None]


class Bundle(msgspec.Struct, forbid_unknown_fields=True):
    """A contract with its values.

    Attributes:
        form: marks the file.
        info, version: ``smgw-info``, and the interface's version.
        user: login of the consumer.
        contract: its entry in ``user-info``.
        point: ``usage-point-info``.
        readings: channels by name of the list.
        log: entries of the period.
        begin, end: of the question, UTC.
    """

    form: str
    info: dict[str, Any]
    version: str
    user: str
    contract: dict[str, Any]
    point: dict[str, Any]
    readings: dict[str, list[dict[str, Any]]]
    log: list[dict[str, Any]]
    begin: str
    end: str

    def rows(self) -> Iterator[Row]:
        """Yield every value."""
        for database, channels in self.readings.items():
            shapes = self.channels(database)
            for channel in channels:
                scaler, unit = shapes.get(channel["obis"], (0, 255))
                for item in channel["readings"]:
                    yield Row(database, channel["obis"], scaler, unit, item)

    def channels(self, database: str) -> dict[str, tuple[int, int]]:
        """Return scaler and unit of a list's registers."""
        return {
            channel["obis"]: (int(channel["scaler"]), int(channel["unit"]))
            for item in self.point["databases"]
            if item["database"] == database
            for channel in item["channels"]
        }


@dataclass(frozen=True, slots=True)
class Row:
    """One value: its list, register, scaler, unit, and the gateway's record of it."""

    database: str
    obis: str
    scaler: int
    unit: int
    item: dict[str, Any]

    @property
    def value(self) -> int:
        """The value, unscaled."""
        return int(self.item["value"])

    @property
    def target(self) -> datetime:
        """End of the registration period."""
        return parse_time(self.item["target-time"])

    @property
    def words(self) -> tuple[int, int]:
        """The status words of gateway and meter."""
        status = self.item["cosem-status"]
        return int(status[:8], 16), int(status[8:], 16)


def parse_time(text: str) -> datetime:
    """Read a time of the interface; without a zone it is UTC.

    Raises:
        ConfigError: not a date-time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"not a date-time: {text[:40]!r}") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def write_time(moment: datetime) -> str:
    """Return a time as the interface has it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def read_bundle(data: bytes) -> Bundle:
    """Read a kept bundle.

    Raises:
        ConfigError: the file is none.
    """
    try:
        bundle = msgspec.json.decode(data, type=Bundle)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not a contract bundle (smgw export --format json): {error}") from error
    if bundle.form != FORM:
        raise ConfigError(f"not a contract bundle: {bundle.form[:40]!r}")
    return bundle


async def fetch(
    client: HanClient,
    contract: str,
    begin: datetime | None,
    end: datetime | None,
    user: str = "",
    progress: Progress = lambda _text: None,
) -> Bundle:
    """Ask a gateway for a contract's values, month by month.

    Args:
        client: the consumer.
        contract: logical name; "": the first running TAF7 contract, or the first one.
        begin: exclusive; default: of the billing period that holds ``end``.
        end: inclusive; default: the gateway's time.
        user: login, for the export.
        progress: told what is asked for.

    Raises:
        HanClientError, ConfigError: the gateway refused, or there is no such contract.
    """
    answer = await client.call("smgw-info")
    entry = _choose((await client.call("user-info"))["user-info"]["usage-points"], contract)
    name = entry["usage-point-id"]
    about = (await client.call("usage-point-info", usage_point_id=name))["usage-point-info"]
    now = parse_time(answer["smgw-info"]["smgw-time"])
    last = end or now
    first = begin or _period_begin(entry, last)
    readings = {}
    for item in about["databases"]:
        readings[item["database"]] = await _readings(
            client, name, item["database"], first, last, progress
        )
    return Bundle(
        FORM,
        answer["smgw-info"],
        answer["version"],
        user,
        entry,
        about,
        readings,
        await _log(client, first, last, progress),
        write_time(first),
        write_time(last),
    )


def _choose(points: list[dict[str, Any]], contract: str) -> dict[str, Any]:
    if contract:
        found = [p for p in points if contract in (p["usage-point-id"], *_short(p))]
        if not found:
            names = ", ".join(p["usage-point-id"] for p in points) or "none"
            raise ConfigError(f"no contract {contract!r}; there are: {names}")
        return found[0]
    running = [p for p in points if p["taf-state"] == "running"] or points
    if not running:
        raise ConfigError("the gateway has no contract for this consumer")
    return next((p for p in running if p["taf-number"] == "7"), running[0])


def _short(point: dict[str, Any]) -> tuple[str, ...]:
    parts = point["usage-point-id"].split(".")
    return tuple(parts[1:2])


def _period_begin(entry: dict[str, Any], end: datetime) -> datetime:
    """Return one second before the billing period that holds ``end``: its edge counts too."""
    begins = [parse_time(period["start-time"]) for period in entry["billing-Periods"]]
    begin = max((moment for moment in begins if moment < end), default=end - timedelta(days=1))
    return begin - timedelta(seconds=1)


async def _readings(
    client: HanClient, name: str, database: str, begin: datetime, end: datetime, progress: Progress
) -> list[dict[str, Any]]:
    channels: dict[str, list[dict[str, Any]]] = {}
    while begin < end:
        until = min(begin + WINDOW, end)
        progress(f"{database} until {write_time(until)}")
        answer = await client.call(
            "readings",
            usage_point_id=name,
            database=database,
            fromtime=write_time(begin),
            totime=write_time(until),
        )
        for channel in answer["readings"]["channels"]:
            channels.setdefault(channel["obis"], []).extend(channel["readings"])
        begin = until
    return [{"obis": obis, "readings": rows} for obis, rows in channels.items()]


async def _log(
    client: HanClient, begin: datetime, end: datetime, progress: Progress
) -> list[dict[str, Any]]:
    progress("log")
    answer = await client.call("log", fromtime=write_time(begin), totime=write_time(end))
    entries: list[dict[str, Any]] = list(answer["log"]["entries"])
    page = entries
    while len(page) >= LOG_PAGE:
        following = int(page[-1]["index"]) + 1
        page = (await client.call("log", fromindex=following, count=LOG_PAGE))["log"]["entries"]
        entries += [entry for entry in page if parse_time(entry["time"]) < end]
    return entries
