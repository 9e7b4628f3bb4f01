"""What the administrator orders of a contract: switching instructions, control signals, captures.

An order is stamped and recorded (TR-03109-1 v1.0 4.3.3 no. 3) in the transaction that stores it, so
it survives a power cut, and carried out by the contract's rule set at a registration of its own.
"""

from __future__ import annotations

from smgw_emu.core.device import Device
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.tariff import taf5
from smgw_emu.core.tariff.events import ControlEvents, EventReadings
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.wan_profiles import need


class Orders:
    """Takes orders for the contracts of one gateway."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def switch(
        self, point: UsagePoint, stage: int, at: DeviceTime, until: DeviceTime, now: DeviceTime
    ) -> DeviceTime:
        """Take a tariff switching instruction (TAF5); returns when it is due.

        Args:
            point: the contract.
            stage: to switch to.
            at: when; a time that is over means at once.
            until: not any more after this time (4.2.2.5.1: must be given).
            now: device time.

        Raises:
            ConfigError: another use case, or the instruction cannot be taken.
        """
        rules = self._rules(point, now)
        if not isinstance(rules, taf5.RuleSet):
            raise ConfigError(f"TAF{point.taf} takes no switching instructions")
        need(until >= now, "the instruction has expired already")
        need(point.valid_at(max(at, now)), "the contract is over by then")
        with self._device.store.transaction():
            due = self._device.metering.add_target(point, max(at, now))
            refusal = rules.instruct(taf5.Instruction(stage, due.seconds, until.seconds))
            need(not refusal, refusal)
            self._keep(point, now, "instruction-received", stage=stage, at=due.iso(),
                       until=until.iso())  # fmt: skip
        return due

    def control(self, point: UsagePoint, level: int, now: DeviceTime) -> DeviceTime:
        """Take a control signal in percent of the power (TAF11); returns when it is recorded.

        Raises:
            ConfigError: another use case, or no such level.
        """
        rules = self._rules(point, now)
        if not isinstance(rules, ControlEvents):
            raise ConfigError(f"TAF{point.taf} takes no control signals")
        with self._device.store.transaction():
            due = self._device.metering.add_target(point, now)
            refusal = rules.signal(due.seconds, level)
            need(not refusal, refusal)
            self._keep(point, now, "control-signal", level=level)
        return due

    def capture(self, point: UsagePoint, now: DeviceTime) -> DeviceTime:
        """Register a contract's meters now (TAF16); returns the target time.

        Raises:
            ConfigError: another use case.
        """
        if not isinstance(self._rules(point, now), EventReadings):
            raise ConfigError(f"TAF{point.taf} takes no orders to capture")
        with self._device.store.transaction():
            due = self._device.metering.add_target(point, now)
            self._keep(point, now, "capture-ordered")
        return due

    def _rules(self, point: UsagePoint, now: DeviceTime) -> object:
        need(point.state(now) == "running", "the contract does not run")
        return self._device.metering.rules.of(point)

    def _keep(self, point: UsagePoint, now: DeviceTime, event: str, **about: object) -> None:
        self._device.metering.rules.save(point)
        self._device.logbooks.write(
            event,
            now,
            consumers=[point.consumer],
            subject=f"{point.name}.sm",
            **{"usage_point": point.name, **about},  # type: ignore[arg-type]
        )
