"""The resource tree an administrator sees.

One management logical device with the device's objects and the HAN profile; one logical device per
profile (``taf7-1.sm``, ``1emh0004911613.sm``, ``emt1.sm``) with the profile as its container
(``wan.md`` 3.9: logical names ``<obis>.<name>.sm``). Value lists and consumer logs are not in it:
the administrator must not see them (TR-03109-1 v1.0 4.5.3), so their paths do not exist.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from hsm_sim import Purpose, SecurityModuleError
from hsm_sim.slots import lmn_master_key
from smgw_emu.core.administration import Record, Stored, record_key
from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import SECOND
from smgw_emu.core.life import LifeInput
from smgw_emu.core.meter_counter import restart_counter
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.wan_profiles import WanProfile
from wan.admin.base import Provider
from wan.admin.contract_object import ContractObject
from wan.admin.facilities import Facilities
from wan.admin.image_object import ImageObject
from wan.admin.keys import check_partner
from wan.admin.log_object import LOGS, LogObject
from wan.admin.meter_object import MeterObject
from wan.admin.objects import (
    ClockObject,
    DeviceName,
    GatewayObject,
    SettingsObject,
    VersionsObject,
)
from wan.admin.profiles import ProfileTable, ReadProfile
from wan.admin.proxy_object import ProxyObject
from wan.admin.security_object import SecurityObject
from wan.cosem.address import Query
from wan.cosem.classes import ClassSpec, check_type, load_classes
from wan.cosem.data import NULL, Data
from wan.cosem.documents import CosemObject, MethodResponse
from wan.cosem.errors import CosemError
from wan.cosem.service import Reply
from wan.cosem.xml import parse

_FIELDS = {
    "meter": "meter",
    "consumer": "consumer",
    "usage-point": "usage_point",
    "wan": "wan",
    "technician": "technician",
    "lmn": "lmn",
    "cls": "cls",
    "proxy": "proxy",
}
MAX_CONTAINERS = 4096  # own choice: a device is not a disk


class GatewayTree:
    """The administrator's view of one gateway.

    Args:
        facilities: what the objects work with.
        classes: the class table; default: the built-in one.
    """

    def __init__(self, facilities: Facilities, classes: dict[int, ClassSpec] | None = None) -> None:
        self._f = facilities
        self._classes = classes if classes is not None else load_classes()
        self.profiles = ProfileTable(self._classes)
        self.management = f"{facilities.device.id.lower}.sm"
        self._objects: dict[tuple[int, str], Provider] = {}
        objects: list[Provider] = [
            DeviceName(facilities),
            GatewayObject(facilities, self._decommission),
            ClockObject(facilities),
            SettingsObject(facilities),
            ImageObject(facilities),
            SecurityObject(facilities),
            VersionsObject(facilities),
        ]
        objects += [LogObject(facilities, name) for name in LOGS]
        for item in objects:
            self._objects[item.class_id, item.name] = item

    # -- reading ---------------------------------------------------------------------------

    def _records(self) -> list[tuple[str, str, str, Record]]:
        """(logical device, container, kind, record) of every profile in force."""
        config = self._f.device.config
        found: list[tuple[str, str, str, Record]] = []
        for kind, field in _FIELDS.items():
            for record in getattr(config, field):
                ldev = f"{record_key(kind, record)}.sm"
                found.append((ldev, self.profiles.container_id(kind, record), kind, record))
        han = config.han_profile
        found.append((self.management, self.profiles.container_id("han", han), "han", han))
        return found

    def ldevs(self) -> list[str]:
        """Return the logical devices, the management one first."""
        names = {ldev for ldev, *_ in self._records()}
        names |= {item.ldev for item in self._f.device.administration.containers() if item.ldev}
        return [self.management, *sorted(names - {self.management})]

    def _known(self, ldev: str) -> None:
        if ldev not in self.ldevs():
            raise CosemError(404, "no such logical device")

    def objects(self, ldev: str) -> list[tuple[int, str]]:
        """Return (class, name) of a device's objects."""
        self._known(ldev)
        return sorted(self._providers(ldev))

    def _providers(self, ldev: str) -> dict[tuple[int, str], Provider]:
        if ldev == self.management:
            return self._objects
        for point in self._f.device.config.usage_point:
            if f"{point.name}.sm" == ldev:
                item = ContractObject(self._f, point)
                return {(item.class_id, item.name): item}
        for meter in self._f.device.config.meter:
            if f"{meter.key}.sm" == ldev:
                known = MeterObject(self._f, meter)
                return {(known.class_id, known.name): known}
        for proxy in self._f.device.config.proxy:
            if f"{proxy.name}.sm" == ldev:
                door = ProxyObject(self._f, proxy)
                return {(door.class_id, door.name): door}
        return {}

    def _provider(self, ldev: str, class_id: int, name: str) -> tuple[Provider, ClassSpec]:
        found = self._providers(ldev).get((class_id, name))
        if found is None:
            raise CosemError(404, "no such object")
        return found, self._classes[class_id]

    def skeleton(self, ldev: str, class_id: int, name: str) -> CosemObject:
        """Return an object without values."""
        _, spec = self._provider(ldev, class_id, name)
        attributes = dict.fromkeys(spec.attributes, NULL)
        return CosemObject(class_id, spec.version, name, attributes, tuple(spec.methods))

    def read(self, ldev: str, class_id: int, name: str, index: int, query: Query) -> Data:
        """Return an attribute's value."""
        return self._provider(ldev, class_id, name)[0].read(index, query)

    # -- writing, calling ------------------------------------------------------------------

    def write(self, ldev: str, class_id: int, name: str, values: dict[int, Data]) -> None:
        """Set attributes, all or none."""
        provider, spec = self._provider(ldev, class_id, name)
        for index, data in values.items():
            attribute = spec.attributes.get(index)
            if attribute is None:
                raise CosemError(404, "no such attribute")
            if not attribute.writable:
                raise CosemError(405, "this attribute cannot be written", attribute.name)
            check_type(attribute, data, attribute.name)
        provider.write(values)

    def call(
        self, ldev: str, class_id: int, name: str, index: int, data: Data | None,
        reply: Reply | None,
    ) -> MethodResponse | None:  # fmt: skip
        """Run a method."""
        provider, spec = self._provider(ldev, class_id, name)
        if index not in spec.methods:
            raise CosemError(404, "no such method")
        return provider.call(index, data, reply)

    # -- containers ------------------------------------------------------------------------

    def containers(self, ldev: str) -> list[tuple[int, str]]:
        """Return (class, id) of a device's containers."""
        if ldev:
            self._known(ldev)
        stored = self._f.device.administration.containers(ldev)
        names = {item.container for item in stored}
        names |= {container for name, container, *_ in self._records() if name == ldev}
        return [(self._class_of(name), name) for name in sorted(names)]

    def _class_of(self, container: str) -> int:
        spec = self.profiles.spec(container)
        return -1 if spec is None else spec.id

    def container(self, ldev: str, name: str) -> bytes:
        """Return a container; what came is given back byte for byte, secrets are left out."""
        stored = self._f.device.administration.container(ldev, name)
        if stored is not None:
            return stored.body
        for found, container, kind, record in self._records():
            if (found, container) == (ldev, name):
                return self.profiles.write(kind, record)
        raise CosemError(404, "no such container")

    def put_container(self, ldev: str, name: str, body: bytes) -> bool:
        """Store a container and put it in force, whole or not at all."""
        if self._f.device.life.ended:
            raise CosemError(500, "the gateway is decommissioned")
        found = self.profiles.read(name, body) if ldev else None
        if found is None:
            return self._put_unknown(ldev, name, body)
        expected = self.management if found.kind == "han" else f"{found.name}.sm"
        if ldev != expected:
            raise CosemError(422, f"this profile belongs to {expected}", "container")
        for other, container, kind, record in self._records():
            same = kind == found.kind and record_key(kind, record) == found.name
            if same and (other, container) != (ldev, name):
                raise CosemError(409, f"{found.name} exists as container {container}", "container")
        new = all((other, c) != (ldev, name) for other, c, *_ in self._records())
        secret = bool(found.secrets) or self.profiles.has_secret(found)
        shown = self.profiles.write(found.kind, found.record) if secret else body
        item = Stored(ldev, name, found.kind, found.name, shown, found.record)
        administration = self._f.device.administration
        try:
            self._check(found)
            config = administration.proposed(item)
            self._check_services(config)
            self._f.prepare(self._f.device.config, config)
        except ConfigError as error:
            raise CosemError(422, str(error), found.kind) from error
        self._apply(lambda: administration.put(item), config, found)
        return new

    def _check(self, found: ReadProfile) -> None:
        """Check what a configuration alone cannot: partners, references (T39, T40)."""
        record, device = found.record, self._f.device
        at = self._f.now().datetime() if device.clock.valid else None
        if isinstance(record, WanProfile):
            for purpose in Purpose:
                certificate = getattr(record, purpose.lower())
                if certificate:
                    check_partner(purpose.lower(), certificate, purpose, at)
        if isinstance(record, UsagePoint):
            for emt in record.emts:
                partner = device.config.emt(emt)
                if partner is None or partner.scenario == "PROXY":
                    raise ConfigError(f"emts: no communication profile {emt!r} (T39)")

    def _check_services(self, config: GatewayConfig) -> None:
        """Without MANAGEMENT and ADMIN-SERVICE nobody could administer the gateway (4.4.4)."""
        for scenario in ("MANAGEMENT", "ADMIN-SERVICE"):
            had = self._f.device.config.wan_profile(scenario) is not None
            if had and config.wan_profile(scenario) is None:
                raise ConfigError(f"the last {scenario} profile must stay (T40)")

    def _put_unknown(self, ldev: str, name: str, body: bytes) -> bool:
        parse(body)  # whatever it means, it is XML without a bomb in it
        if any((other, container) == (ldev, name) for other, container, *_ in self._records()):
            raise CosemError(409, "a profile of another class is in force here", "container")
        administration = self._f.device.administration
        if len(administration.containers()) >= MAX_CONTAINERS:
            raise CosemError(413, "no room for another container")
        new = administration.container(ldev, name) is None
        device = self._f.device
        with device.store.transaction():
            administration.put(Stored(ldev, name, "", "", body, None))
            device.logbooks.write(
                "container-stored", self._f.now(), container=name, ldev=ldev, octets=len(body)
            )
        return new

    def delete_container(self, ldev: str, name: str) -> None:
        """Remove a container and what it configured."""
        device = self._f.device
        administration = device.administration
        stored = administration.container(ldev, name)
        if stored is not None and stored.record is None:
            with device.store.transaction():
                administration.remove(stored)
                device.logbooks.write("container-removed", self._f.now(), container=name, ldev=ldev)
            return
        record = next((r for r in self._records() if r[:2] == (ldev, name)), None)
        if record is None or (record[2] == "han" and stored is None):
            raise CosemError(404, "no such container")
        kind, key = record[2], record_key(record[2], record[3])
        try:
            if administration.in_factory(kind, key):
                hidden = Stored(ldev, name, kind, key, b"", None, removed=True)
                config = administration.proposed(hidden)
                remove = lambda: administration.put(hidden)  # noqa: E731
            else:
                assert stored is not None
                config = administration.without(stored)
                remove = lambda: administration.remove(stored)  # noqa: E731
            self._check_services(config)
            self._check_references(kind, key)
            self._f.prepare(device.config, config)
        except ConfigError as error:
            raise CosemError(409, str(error), kind) from error
        self._apply(remove, config, None)

    def _check_references(self, kind: str, key: str) -> None:
        if kind != "wan":
            return
        for point in self._f.device.config.usage_point:
            runs = point.state(self._f.now()) != "archive"
            if runs and key in {emt.removesuffix(".sm") for emt in point.emts}:
                raise ConfigError(f"evaluation profile {point.name!r} refers to it (T40)")

    def delete_ldev(self, ldev: str) -> None:
        """Remove a logical device: all its containers."""
        if ldev == self.management:
            raise CosemError(405, "the management logical device cannot be deleted")
        self._known(ldev)
        for _, name in self.containers(ldev):
            self.delete_container(ldev, name)

    def _decommission(self) -> None:
        """End every contract; the last values go out first (GW-28, H30)."""
        device, now = self._f.device, self._f.now()
        administration, old = device.administration, device.config
        running = [point for point in old.usage_point if point.state(now) == "running"]
        for point in running:
            self._f.read_now(point)
        ended = [
            msgspec.structs.replace(point, end=max(now, point.begin + SECOND).iso())
            for point in old.usage_point
            if point.state(now) != "archive"
        ]
        items = []
        for point in ended:
            container = self.profiles.container_id("usage-point", point)
            body = self.profiles.write("usage-point", point)
            items.append(
                Stored(f"{point.name}.sm", container, "usage-point", point.name, body, point)
            )

        def change() -> None:
            for item in items:
                administration.put(item)
            device.life.apply(LifeInput.END, now)
            device.logbooks.write("decommissioned", now)

        by_name = {point.name: point for point in ended}
        points = tuple(by_name.get(point.name, point) for point in old.usage_point)
        self._apply(change, msgspec.structs.replace(old, usage_point=points), None)

    def _apply(
        self, change: Callable[[], None], config: GatewayConfig, found: ReadProfile | None
    ) -> None:
        """Write, log and put in force in one transaction; on failure nothing has happened."""
        device, now = self._f.device, self._f.now()
        old = device.config
        try:
            with device.store.transaction():
                change()
                device.reconfigure(config, now)
                if found is not None and found.secrets:
                    self._keep_key(found)
        except BaseException:
            device.administration.reload()
            device.restore(old, now)
            raise
        self._f.reconfigured(old, config)

    def _keep_key(self, found: ReadProfile) -> None:
        """Put a meter's master key into the security module (LAF1; pairing uses it)."""
        assert isinstance(found.record, Meter)
        module, name = self._f.keys.module, lmn_master_key(found.record.id)
        try:
            changed = name not in module.files() or (
                module.read_file(name) != found.secrets["master_key"]
            )
            module.write_file(name, found.secrets["master_key"])
        except SecurityModuleError as error:
            raise CosemError(500, f"the security module refuses: {error}", "master_key") from error
        if changed:  # a new key, and only that, begins a new row of counters (TR-03116-3 7.1)
            restart_counter(self._f.device.store, found.record.key)
        self._f.device.logbooks.write("pairing-key", self._f.now(), meter=found.record.key)
