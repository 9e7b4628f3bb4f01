"""The objects of the management logical device.

Each is a small class with the attributes of its row in the class table. Logical names are standard
OBIS codes where IEC 62056-6-1 has one; the rest (0-0:96.128.x) is our own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import msgspec

from smgw_emu.core.life import LifeInput
from smgw_emu.core.wan_profiles import Settings
from wan.admin.base import DONE, Plain, date_time
from wan.admin.facilities import Facilities
from wan.cosem.data import Data, array, octets, structure, text, unsigned32
from wan.cosem.documents import MethodResponse
from wan.cosem.errors import CosemError
from wan.cosem.service import Reply

DEVICE_NAME, CLOCK = "00002a0000ff", "0000010000ff"
SYNCHRONISE = -1  # own method of the clock
GATEWAY, SETTINGS, VERSIONS = "0000608000ff", "0000608001ff", "0000608003ff"


class DeviceName(Plain):
    """The logical device name; Anlage II asks for it in the management logical device."""

    name = DEVICE_NAME

    def attributes(self) -> dict[int, Callable[[], Data]]:
        """Return what the class table names."""
        return {2: lambda: octets(f"{self.facilities.device.id.lower}.sm".encode())}


class GatewayObject(Plain):
    """Device information and what is asked of the device as a whole."""

    class_id, name = 65001, GATEWAY

    def __init__(self, facilities: Facilities, end: Callable[[], None]) -> None:
        super().__init__(facilities)
        self._end = end

    def attributes(self) -> dict[int, Callable[[], Data]]:
        """Return what the class table names."""
        f = self.facilities
        device, shown = f.device, f.device.profile.device
        return {
            2: lambda: text(str(device.id)),
            3: lambda: text(shown.model),
            4: lambda: text(shown.firmware_version),
            5: lambda: octets(bytes.fromhex(device.firmware_hash)),
            6: lambda: text(device.life.state),
            7: lambda: text(f.now().iso()),
            8: lambda: Data("boolean", device.clock.valid),
            9: lambda: Data("unsigned", f.keys.generation),
            10: lambda: unsigned32(f.outbox.count()),
            11: lambda: array(*(text(meter) for meter in sorted(device.metering.heard))),
            12: lambda: text(device.store.get_meta("self-test") or ""),
            13: lambda: text(f.keys.module.life_cycle),
        }

    def call(self, index: int, data: Data | None, reply: Reply | None) -> MethodResponse | None:
        """Run a method of the class table."""
        if index == 1:
            return self._self_test(reply)
        if index == 2:
            return self._decommission(data)
        if index == 3:
            return self._dispose(data)
        return super().call(index, data, reply)

    def _self_test(self, reply: Reply | None) -> MethodResponse | None:
        if reply is None:
            raise CosemError(408, "the result comes later: x-CID is needed (Anlage II 7.5)")
        state = self.facilities.self_test()
        if state != "started":
            return MethodResponse(2, text(state))  # temporary-failure
        self.facilities.answer_later("self-test", reply)
        return None

    def _dispose(self, data: Data | None) -> MethodResponse:
        """Destroy the WAN keys; the gateway cannot be commissioned again (GW-31)."""
        f = self.facilities
        if data is None or data.value != str(f.device.id):
            raise CosemError(422, "the gateway's id is expected, to be sure", "dispose")
        if not f.device.life.apply(LifeInput.DISPOSE, f.now()):
            return MethodResponse(3, text("decommission comes first"))
        f.dispose()
        return DONE

    def _decommission(self, data: Data | None) -> MethodResponse:
        if data is None or data.value != str(self.facilities.device.id):
            raise CosemError(422, "the gateway's id is expected, to be sure", "decommission")
        self._end()
        return DONE


class ClockObject(Plain):
    """Time and how it is synchronised."""

    class_id, name = 8, CLOCK

    def attributes(self) -> dict[int, Callable[[], Data]]:
        """Return what the class table names."""
        f = self.facilities
        settings = f.device.administration.settings
        valid = f.device.clock.valid
        return {
            2: lambda: date_time(f.now(), valid=valid),
            3: lambda: Data("long", -60),
            4: lambda: Data("unsigned", 0 if valid else 1),
            9: lambda: Data("enum", 5),  # radio/network time source
            -1: lambda: text(settings.time_method),
            -2: lambda: unsigned32(settings.time_interval_s),
            -3: lambda: text(f.device.store.get_meta("synchronised") or ""),
        }

    def call(self, index: int, data: Data | None, reply: Reply | None) -> MethodResponse | None:
        """Synchronise now, whatever the deviation: the way out of SEC-11 (A6, SEC-14)."""
        if index != SYNCHRONISE:
            return super().call(index, data, reply)
        self.facilities.resync()
        return DONE

    def write(self, values: dict[int, Data]) -> None:
        """Set method and interval."""
        changes = {
            {-1: "time_method", -2: "time_interval_s"}[i]: d.value for i, d in values.items()
        }
        interval = changes.get("time_interval_s")
        if isinstance(interval, int) and not 60 <= interval <= 604_800:
            raise CosemError(422, "60 s to 7 days", "time_interval_s")
        change_settings(self.facilities, changes)


class SettingsObject(Plain):
    """Limits and switches."""

    class_id, name = 65002, SETTINGS
    _FIELDS: ClassVar = {
        2: "value_limit_kib",
        4: "wakeup_enabled",
        5: "wakeup_port",
        6: "lmn_wired",
        7: "lmn_wireless",
    }

    def attributes(self) -> dict[int, Callable[[], Data]]:
        """Return what the class table names."""
        f = self.facilities
        settings = f.device.administration.settings
        return {
            2: lambda: unsigned32(settings.value_limit_kib),
            3: lambda: unsigned32(f.used_kib()),
            4: lambda: Data("boolean", settings.wakeup_enabled),
            5: lambda: Data("long-unsigned", settings.wakeup_port),
            6: lambda: Data("boolean", settings.lmn_wired),
            7: lambda: Data("boolean", settings.lmn_wireless),
        }

    def write(self, values: dict[int, Data]) -> None:
        """Set limits and switches."""
        change_settings(
            self.facilities, {self._FIELDS[i]: data.value for i, data in values.items()}
        )


def change_settings(facilities: Facilities, changes: Mapping[str, object]) -> None:
    """Put parameters in force and log them, all or none.

    Raises:
        CosemError: 422, a value is not allowed.
    """
    device, administration = facilities.device, facilities.device.administration
    old = administration.settings
    try:
        new = msgspec.convert(msgspec.structs.asdict(old) | dict(changes), Settings)
    except msgspec.ValidationError as error:
        raise CosemError(422, str(error), ", ".join(changes)) from error
    with device.store.transaction():
        administration.set(new)
        for name, value in changes.items():
            if value == getattr(old, name):
                continue
            device.logbooks.write(
                "settings-changed",
                facilities.now(),
                parameter=name,
                old=getattr(old, name),
                new=value,
            )
    facilities.settings_changed(old, new)


class VersionsObject(Plain):
    """Every version of every profile, and whether it is in force (GW-41)."""

    class_id, name = 65004, VERSIONS

    def attributes(self) -> dict[int, Callable[[], Data]]:
        """Return what the class table names."""
        return {2: self._versions}

    def _versions(self) -> Data:
        device, now = self.facilities.device, self.facilities.now()
        points = {point.name: point for point in device.config.usage_point}
        rows = []
        for version in device.history.versions():
            state = "ended" if version.ended else "in force"
            if not version.ended and version.kind == "usage-point" and version.name in points:
                state = points[version.name].state(now)
            ended = version.ended.iso() if version.ended else ""
            rows.append(
                structure(
                    text(version.kind),
                    text(version.name),
                    unsigned32(version.number),
                    text(version.began.iso()),
                    text(ended),
                    text(state),
                )
            )
        return array(*rows)
