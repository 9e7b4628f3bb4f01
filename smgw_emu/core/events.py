"""The event catalogue: which events exist, how grave they are, which logbooks they reach.

Data lives in ``smgw_emu/profiles/events.toml``; the vendor's catalogue is not public, so every
entry but two is marked ``placeholder`` and the file can be replaced.
"""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from importlib import resources
from typing import Literal

import msgspec

from smgw_emu.core.errors import ConfigError

LogName = Literal["system", "calibration", "consumer"]
_ID = re.compile(r"([A-Z]{3})\.(\d{1,9})\.(\d{1,9})", re.ASCII)


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"audience": "for"}):
    """One catalogue entry; ``text`` is a template with ``{named}`` parameters.

    ``notify``: the administrator is told (TR-03109-1 v1.0 3.2.2 WAF3).
    """

    name: str
    level: Literal["I", "W", "E", "F"]
    logs: tuple[LogName, ...]
    audience: Literal["one", "all"]
    text: str
    status: Literal["attested", "placeholder"]
    source: str
    id: str = ""
    notify: bool = False


def split_event_id(event_id: str) -> tuple[str, str, str]:
    """Split ``VENDOR.EVENT.SUB`` (GW-61).

    Raises:
        ConfigError: another form.
    """
    match = _ID.fullmatch(event_id)
    if match is None:
        raise ConfigError(f"not an event id VENDOR.EVENT.SUB: {event_id!r}")
    vendor, event, sub = match.groups()
    return vendor, event, sub


def load_catalogue(text: str | None = None) -> dict[str, Event]:
    """Return the catalogue by event name; ``text`` replaces the built-in file.

    Raises:
        ConfigError: the file has another shape, or lacks an event the device writes.
    """
    built_in = _built_in()
    if text is None:
        return dict(built_in)
    own = _parse(text)
    missing = sorted(built_in.keys() - own.keys())
    if missing:
        raise ConfigError(f"event catalogue: no event named {', '.join(missing)}")
    return own


@lru_cache(maxsize=1)
def _built_in() -> dict[str, Event]:
    file = resources.files("smgw_emu.profiles").joinpath("events.toml")
    return _parse(file.read_text("utf-8"))


def _parse(text: str) -> dict[str, Event]:
    catalogue: dict[str, Event] = {}
    try:
        vendors = msgspec.convert(tomllib.loads(text), dict[str, dict[str, dict[str, Event]]])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"event catalogue: {error}") from error
    for vendor, events in vendors.items():
        for number, subs in events.items():
            for sub, event in subs.items():
                event_id = f"{vendor}.{number}.{sub}"
                split_event_id(event_id)
                if event.name in catalogue:
                    raise ConfigError(f"event catalogue: {event.name!r} stands twice")
                catalogue[event.name] = msgspec.structs.replace(event, id=event_id)
    return catalogue
