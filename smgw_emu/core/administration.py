"""What the administrator has configured, on top of what the factory left in ``config.toml``.

A profile arrives as a container of the resource tree; here it is a typed record. The configuration
in force is the factory's with every stored record laid over it. A change is checked as a whole
configuration and written in one transaction, so it is applied whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from smgw_emu.core.cls_profiles import ClsProfile, ProxyProfile
from smgw_emu.core.config import Consumer, GatewayConfig, check_config
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.store import Store
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.wan_profiles import (
    HanProfile,
    LmnProfile,
    Settings,
    Technician,
    WanProfile,
)

Record = (
    Meter
    | Consumer
    | UsagePoint
    | WanProfile
    | Technician
    | HanProfile
    | LmnProfile
    | ClsProfile
    | ProxyProfile
)

_SETTINGS = "settings"
# kind -> type, field of the configuration, key within the field (None: there is only one)
_KINDS: Mapping[str, tuple[type[Any], str, str | None]] = MappingProxyType(
    {
        "meter": (Meter, "meter", "id"),
        "consumer": (Consumer, "consumer", "login"),
        "usage-point": (UsagePoint, "usage_point", "name"),
        "wan": (WanProfile, "wan", "name"),
        "technician": (Technician, "technician", "name"),
        "han": (HanProfile, "han_profile", None),
        "lmn": (LmnProfile, "lmn", "meter"),
        "cls": (ClsProfile, "cls", "name"),
        "proxy": (ProxyProfile, "proxy", "name"),
    }
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A container as it came.

    Attributes:
        ldev: logical device it hangs below.
        container: 12 hex digits.
        kind: of the profile, "" for one this device does not know.
        name: key within its kind.
        body: the document, byte for byte.
        record: the profile, None for unknown ones.
        removed: hides a profile of the factory.
    """

    ldev: str
    container: str
    kind: str
    name: str
    body: bytes
    record: Record | None
    removed: bool = False


def record_key(kind: str, record: Record) -> str:
    """Return the key of a record within its kind."""
    field = _KINDS[kind][2]
    return "" if field is None else str(getattr(record, field)).lower()


class Administration:
    """Stored profiles and settings.

    Args:
        factory: configuration read at power-up.
        store: the gateway's flash.
    """

    def __init__(self, factory: GatewayConfig, store: Store) -> None:
        self._factory = factory
        self._store = store
        self._stored = {(item.ldev, item.container): item for item in self._load()}

    def _load(self) -> list[Stored]:
        rows = self._store.execute(
            "SELECT ldev, id, kind, name, body, record, removed FROM container ORDER BY ldev, id"
        )
        return [_stored(*row) for row in rows]

    # -- reading ---------------------------------------------------------------------------

    @property
    def config(self) -> GatewayConfig:
        """The configuration in force."""
        return self._fold(self._stored)

    @property
    def settings(self) -> Settings:
        """Parameters set one by one."""
        text = self._store.get_meta(_SETTINGS)
        return Settings() if text is None else msgspec.json.decode(text, type=Settings)

    def containers(self, ldev: str | None = None) -> list[Stored]:
        """Return stored containers, those of one logical device or all."""
        return [
            item
            for (name, _), item in sorted(self._stored.items())
            if not item.removed and ldev in {None, name}
        ]

    def container(self, ldev: str, container: str) -> Stored | None:
        """Return one stored container."""
        found = self._stored.get((ldev, container))
        return None if found is None or found.removed else found

    def in_factory(self, kind: str, name: str) -> bool:
        """Tell whether the factory's configuration has a profile of that name."""
        _, field, key = _KINDS[kind]
        if key is None:
            return False
        return any(record_key(kind, item) == name for item in getattr(self._factory, field))

    # -- changing --------------------------------------------------------------------------

    def proposed(self, item: Stored) -> GatewayConfig:
        """Return the configuration with a container put in (or removed), checked.

        Raises:
            ConfigError: it would not hold together; names the element.
        """
        changed = dict(self._stored)
        changed[item.ldev, item.container] = item
        config = self._fold(changed)
        check_config(config)
        return config

    def put(self, item: Stored) -> None:
        """Store a container; the caller holds the transaction."""
        record = "" if item.record is None else msgspec.json.encode(item.record).decode()
        self._store.execute(
            "INSERT OR REPLACE INTO container VALUES (?, ?, ?, ?, ?, ?, ?)",
            (item.ldev, item.container, item.kind, item.name, item.body, record, int(item.removed)),
        )
        self._stored[item.ldev, item.container] = item

    def remove(self, item: Stored) -> None:
        """Delete a container, or hide the factory's profile behind it."""
        if item.removed:
            self.put(item)
            return
        self._store.execute(
            "DELETE FROM container WHERE ldev = ? AND id = ?", (item.ldev, item.container)
        )
        del self._stored[item.ldev, item.container]

    def without(self, item: Stored) -> GatewayConfig:
        """Return the configuration without a stored container, checked.

        Raises:
            ConfigError: something refers to it.
        """
        changed = {key: value for key, value in self._stored.items() if value is not item}
        config = self._fold(changed)
        check_config(config)
        return config

    def set(self, settings: Settings) -> None:
        """Store the parameters."""
        self._store.set_meta(_SETTINGS, msgspec.json.encode(settings).decode())

    def reload(self) -> None:
        """Forget what a rolled-back transaction had changed."""
        self._stored = {(item.ldev, item.container): item for item in self._load()}

    def _fold(self, stored: Mapping[tuple[str, str], Stored]) -> GatewayConfig:
        fields: dict[str, Any] = {}
        for kind, (_, field, key) in _KINDS.items():
            # what hides a factory profile first: a newer one of the same name may lie elsewhere
            ordered = sorted(stored.items(), key=lambda pair: (not pair[1].removed, pair[0]))
            items = [item for _, item in ordered if item.kind == kind]
            if key is None:
                records = [item.record for item in items if item.record is not None]
                if records:
                    fields[field] = records[-1]
                continue
            merged = {record_key(kind, r): r for r in getattr(self._factory, field)}
            for item in items:
                merged.pop(item.name, None)
                if item.record is not None and not item.removed:
                    merged[item.name] = item.record
            fields[field] = tuple(merged.values())
        return msgspec.structs.replace(self._factory, **fields)


def _stored(
    ldev: str, container: str, kind: str, name: str, body: bytes, record: str, removed: int
) -> Stored:
    typed = msgspec.json.decode(record, type=_KINDS[kind][0]) if record else None
    return Stored(ldev, container, kind, name, body, typed, bool(removed))
