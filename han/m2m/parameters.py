"""Parameters of the IF_GW_CON methods: what is accepted, in which spelling.

Clients send numbers and booleans natively or as strings, and filter channels in three spellings
(``han-m2m.md`` 6.4, 6.5). Everything else is a :class:`RemoteProtocolError`, answered 400.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import SECOND, DeviceTime, parse_device_time
from smgw_emu.core.obis import Obis

DATABASES = ("origin", "derived", "calculated", "daily")
_INTEGER = re.compile(r"\d{1,15}", re.ASCII)
# IF_GW_CON: the combinations of log parameters that are allowed, besides none at all.
_LOG_COMBINATIONS = {
    frozenset(names)
    for names in (
        (),
        ("fromtime",),
        ("totime",),
        ("fromtime", "totime"),
        ("fromindex",),
        ("count",),
        ("fromindex", "count"),
        ("fromtime", "count"),
        ("fromtime", "totime", "count"),
    )
}
_LOG_NAMES = ("fromtime", "totime", "fromindex", "count")
MAX_CHANNELS = 256  # own choice: far above the registers of a contract


def decode_body(body: bytes) -> dict[str, Any]:
    """Read the JSON object of a request.

    Raises:
        RemoteProtocolError: not UTF-8 JSON, or not an object.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"no JSON: {error}") from error
    if not isinstance(value, dict):
        raise RemoteProtocolError("no JSON object")
    return value


def text(parameters: dict[str, Any], name: str) -> str:
    """Return a required string."""
    value = parameters.get(name)
    if not isinstance(value, str):
        raise RemoteProtocolError(f"{name} must be a string")
    return value


def _moment(parameters: dict[str, Any], name: str) -> DeviceTime:
    return parse_device_time(text(parameters, name))


def _natural(value: object, name: str) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15:
        return value
    raise RemoteProtocolError(f"{name} must be a natural number")


def _flag(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return value
    if value in {"true", "false"}:
        return value == "true"
    raise RemoteProtocolError(f"{name} must be true or false")


def database(parameters: dict[str, Any], *, required: bool) -> str | None:
    """Return the name of a value list."""
    if not required and parameters.get("database") is None:
        return None
    name = text(parameters, "database")
    if name not in DATABASES:
        raise RemoteProtocolError(f"no database {name[:40]!r}")
    return name


def _channel(item: object) -> Obis:
    if isinstance(item, dict):
        item = item.get("channel", item.get("obis"))
    if not isinstance(item, str):
        raise RemoteProtocolError("a channel is an OBIS code")
    # the interface description's own example carries ".<meter>.sm" behind the code
    return Obis.parse(item[:12] if item[12:13] == "." else item)


def _channels(parameters: dict[str, Any]) -> tuple[Obis, ...]:
    items = parameters.get("channels")
    if items is None:
        return ()
    if isinstance(items, dict):
        items = [items]
    if not isinstance(items, list) or len(items) > MAX_CHANNELS:
        raise RemoteProtocolError("channels must be a list")
    return tuple(_channel(item) for item in items)


@dataclass(frozen=True, slots=True)
class ReadingsQuery:
    """Parameters of ``readings``; ``after`` and ``until`` are unused when ``last`` is set."""

    usage_point: str
    database: str
    channels: tuple[Obis, ...]
    last: bool
    after: DeviceTime
    until: DeviceTime


def readings_query(parameters: dict[str, Any], window_s: int) -> ReadingsQuery:
    """Read the parameters of ``readings`` (A-2.6).

    Raises:
        RemoteProtocolError: missing, malformed, or a window above ``window_s``.
    """
    name = database(parameters, required=True)
    assert name is not None
    usage_point = text(parameters, "usage-point-id")
    channels = _channels(parameters)
    if _flag(parameters.get("last-reading", False), "last-reading"):
        never = DeviceTime(0)
        return ReadingsQuery(usage_point, name, channels, last=True, after=never, until=never)
    after, until = _moment(parameters, "fromtime"), _moment(parameters, "totime")
    if until < after:
        raise RemoteProtocolError("totime is before fromtime")
    if until - after > window_s * SECOND:
        raise RemoteProtocolError(f"more than {window_s // 86400} days")
    return ReadingsQuery(usage_point, name, channels, last=False, after=after, until=until)


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Parameters of ``log``."""

    begin: DeviceTime | None
    end: DeviceTime | None
    from_index: int | None
    count: int


def log_query(parameters: dict[str, Any], max_entries: int) -> LogQuery:
    """Read the parameters of ``log`` (A-2.5).

    Raises:
        RemoteProtocolError: a combination or value that is not allowed.
    """
    given = {name for name in _LOG_NAMES if parameters.get(name) is not None}
    if frozenset(given) not in _LOG_COMBINATIONS:
        raise RemoteProtocolError(f"combination not allowed: {', '.join(sorted(given))}")
    count = max_entries
    if "count" in given:
        count = _natural(parameters["count"], "count")
        if not 1 <= count <= max_entries:
            raise RemoteProtocolError(f"count must be 1 to {max_entries}")
    return LogQuery(
        _moment(parameters, "fromtime") if "fromtime" in given else None,
        _moment(parameters, "totime") if "totime" in given else None,
        _natural(parameters["fromindex"], "fromindex") if "fromindex" in given else None,
        count,
    )
