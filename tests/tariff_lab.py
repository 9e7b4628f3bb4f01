"""A core with contracts of any use case, fed register by register; nothing of it is a mock."""

from __future__ import annotations

from typing import Any

import msgspec
from support import device_in_memory

from smgw_emu.core.config import Consumer, Gateway, GatewayConfig, check_config
from smgw_emu.core.contracts import ConsumerView
from smgw_emu.core.device import Device
from smgw_emu.core.instants import DeviceTime, WorldTime, parse_device_time
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.obis import Obis
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.values import MeterReport, MeterValue, Reading

METER, SECOND_METER = "1EMU0000000001", "1EMU0000000002"
IMPORT, EXPORT, POWER = "0100010800ff", "0100020800ff", "0100100700ff"
FOREVER = DeviceTime(1 << 62)


def contract(name: str, taf: int, start: str, **more: Any) -> UsagePoint:
    """Return a contract of consumer anna on the first meter."""
    return UsagePoint(name, taf, "anna", more.pop("meters", (METER,)), start, **more)


class TariffLab:
    """A device without interfaces."""

    def __init__(
        self,
        *points: UsagePoint,
        start: str,
        meters: tuple[Meter, ...] = (Meter(METER), Meter(SECOND_METER)),
        **clock: Any,
    ) -> None:
        self.config = GatewayConfig(
            Gateway("ETHE0300004261"),
            meter=meters,
            consumer=(Consumer("anna", "anna.sm"), Consumer("bert", "bert.sm")),
            usage_point=points,
        )
        check_config(self.config)
        self.device: Device = device_in_memory(self.config, start, **clock)
        self.now = WorldTime(parse_device_time(start).ns)
        self.device.power_on(self.now)
        self.sent: list[tuple[str, list[tuple[str, Reading]], str]] = []
        self.device.metering.on_send = lambda point, values, reason, _now: self.sent.append(
            (point.name, values, reason)
        )

    def until(self, moment: WorldTime | str) -> WorldTime:
        """Let time pass; deadlines before the moment are kept."""
        if isinstance(moment, str):
            moment = WorldTime(parse_device_time(moment).ns)
        while (due := self.device.next_deadline()) < moment:
            self.device.on_deadline(max(due, self.now))
        self.now = moment
        return moment

    def feed(
        self,
        moment: WorldTime | str,
        values: int | dict[str, int],
        *,
        meter: str = METER,
        status: int | None = 4,
        scaler: int = 0,
        unit: int = 30,
    ) -> None:
        """A meter says its registers at a moment."""
        at = self.until(moment)
        registers = {IMPORT: values} if isinstance(values, int) else values
        entries = tuple(
            MeterValue(Obis.parse(code), value, scaler, 27 if code == POWER else unit)
            for code, value in registers.items()
        )
        self.device.on_report(at, MeterReport(meter.lower(), entries, status))

    def view(self, login: str = "anna") -> ConsumerView:
        """Return what a consumer sees."""
        device = self.device
        return ConsumerView(device, next(c for c in device.config.consumer if c.login == login))

    def point(self, name: str) -> UsagePoint:
        """Return a contract."""
        return next(p for p in self.device.config.usage_point if p.name == name)

    def lines(self, name: str, database: str) -> list[Reading]:
        """Return a list of a contract as its consumer sees it."""
        point = self.point(name)
        return self.view(point.consumer).readings(point, database, DeviceTime(0), FOREVER)

    def series(self, name: str, database: str, code: str = IMPORT) -> list[tuple[str, int]]:
        """Return (target, value) of one register's lines."""
        wanted = Obis.parse(code)
        lines = self.lines(name, database)
        return [(x.target.iso(), x.value) for x in lines if x.obis == wanted]

    def events(self, log: str = "consumer", reader: str = "anna") -> list[str]:
        """Return the event ids of a log."""
        book = reader if log == "consumer" else ""
        return [entry.event for entry in self.device.logbooks.entries(log, book)]  # type: ignore[arg-type]

    def change(self, *points: UsagePoint, meters: tuple[Meter, ...] | None = None) -> None:
        """Put another configuration in force now."""
        config = msgspec.structs.replace(
            self.device.config, usage_point=points, meter=meters or self.device.config.meter
        )
        check_config(config)
        with self.device.store.transaction():
            self.device.reconfigure(config, self.device.now(self.now))
