"""Device behaviour as data: firmware lines, limits, quirks, event catalogue.

A profile is a TOML file below this folder, named without its ending (``conexa-3.0/v3.87``). Its
optional ``extends`` names another profile whose tables it overrides key by key. What paper leaves
open is a key here with its source beside it; code asks the profile and holds no firmware version
checks (architecture, section 7).
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from smgw_emu.profiles.tables import (
    Boot,
    Cls,
    Device,
    Digest,
    Firmware,
    Http,
    Leds,
    LmnBus,
    LmnWired,
    LmnWireless,
    M2m,
    Profile,
    Registration,
    Retention,
    SecureStates,
    SelfTest,
    Sml,
    Time,
    Tls,
    Wakeup,
    Wan,
)

__all__ = [
    "DEFAULT_PROFILE",
    "MAX_SESSION_S",
    "Boot",
    "Cls",
    "Device",
    "Digest",
    "Firmware",
    "Http",
    "Leds",
    "LmnBus",
    "LmnWired",
    "LmnWireless",
    "M2m",
    "Profile",
    "ProfileError",
    "Registration",
    "Retention",
    "SecureStates",
    "SelfTest",
    "Sml",
    "Time",
    "Tls",
    "Wakeup",
    "Wan",
    "available",
    "load",
    "load_text",
]

DEFAULT_PROFILE = "conexa-3.0/v3.87"

# TR-03116-3 (2025) 4.1.2, 5.1.2, 6.1; TR-03109-1 v1.0 T17, T40: more must not be accepted
MAX_SESSION_S = {"tls": 172_800, "wan_tls": 172_800, "lmn_tls": 2_678_400}


class ProfileError(Exception):
    """A profile does not exist or does not have the expected shape."""


def _read(name: str, folder: Path | None) -> dict[str, Any]:
    if folder is None or not name.endswith(".toml"):
        return _built_in_table(name)
    try:
        text = (folder / name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"cannot read profile {folder / name}: {error}") from error
    return _parse(text, name)


@lru_cache(maxsize=32)
def _built_in_table(name: str) -> dict[str, Any]:
    """Return the whole table of a built-in profile; nobody changes it."""
    return _parse(_built_in(name), name)


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"profile {name!r}: {error}") from error
    parent = table.pop("extends", None)
    return table if parent is None else _merge(_built_in_table(str(parent)), table)


def _built_in(name: str) -> str:
    parts = name.split("/")
    if not all(part and part.strip(".") and "\\" not in part for part in parts):
        raise ProfileError(f"not a profile name: {name!r}")
    file = resources.files(__name__).joinpath(*parts[:-1], parts[-1] + ".toml")
    try:
        return file.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ProfileError(f"no profile {name!r}; there are: {', '.join(available())}") from error


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = _merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def available() -> list[str]:
    """Return the names of all profiles."""
    root = resources.files(__name__)
    return sorted(
        f"{folder.name}/{file.name.removesuffix('.toml')}"
        for folder in root.iterdir()
        if folder.is_dir() and not folder.name.startswith("_")
        for file in folder.iterdir()
        if file.name.endswith(".toml")
    )


def load(name: str = DEFAULT_PROFILE, folder: Path | None = None) -> Profile:
    """Load a profile by name, or from a file of one's own.

    Args:
        name: a built-in name, or a file name ending in ``.toml`` in ``folder``.
        folder: the gateway's directory.

    Raises:
        ProfileError: no such profile, or a key is missing, unknown or of the wrong type.
    """
    return _checked(_read(name, folder), name)


def load_text(text: str, version: str) -> Profile:
    """Read the profile a firmware package brings; its ``name`` is what it calls itself.

    Args:
        text: TOML like a profile's file.
        version: of the package, shown as firmware version whatever the text says.

    Raises:
        ProfileError: not a profile.
    """
    table = _parse(text, "firmware")
    name = str(table.pop("name", "firmware"))
    table = _merge(table, {"device": {"firmware_version": version}})
    return _checked(table, name)


def _checked(table: dict[str, Any], name: str) -> Profile:
    table = table | {"name": name}
    try:
        profile = msgspec.convert(table, Profile)
    except msgspec.ValidationError as error:
        raise ProfileError(f"profile {name!r}: {error}") from error
    for key, limit in MAX_SESSION_S.items():
        if getattr(profile, key).max_session_s > limit:
            raise ProfileError(f"profile {name!r}: {key}.max_session_s is above {limit}")
    return profile
