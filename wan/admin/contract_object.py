"""What is asked and ordered of one contract. Never a value list (TR-03109-1 v1.0 4.5.3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from smgw_emu.core.errors import ConfigError, RemoteProtocolError
from smgw_emu.core.instants import DeviceTime, parse_device_time
from smgw_emu.core.orders import Orders
from smgw_emu.core.usage_point import UsagePoint
from wan.admin.base import Plain
from wan.admin.facilities import Facilities
from wan.cosem.data import Data, array, octets, text, unsigned32
from wan.cosem.documents import MethodResponse
from wan.cosem.errors import CosemError
from wan.cosem.service import Reply

CONTRACT = "0000608002ff"
_NO_VALUES = MethodResponse(11, text("no value or no market participant"))


class ContractObject(Plain):
    """State, registers, values now or of a day, switching, control and capture."""

    class_id, name = 65003, CONTRACT

    def __init__(self, facilities: Facilities, point: UsagePoint) -> None:
        super().__init__(facilities)
        self._point = point

    def attributes(self) -> dict[int, Callable[[], Data]]:
        """Return what the class table names."""
        terms = self.facilities.device.metering.rules.of(self._point).terms
        return {
            2: lambda: text(self._point.state(self.facilities.now())),
            3: lambda: array(*(octets(register.octets) for register in terms.registers)),
        }

    def call(self, index: int, data: Data | None, reply: Reply | None) -> MethodResponse | None:
        """Run a method of the class table."""
        methods = {1: self._read_now, 2: self._switch, 3: self._control, 4: self._capture,
                   5: self._read_day}  # fmt: skip
        method = methods.get(index)
        if method is None:
            return super().call(index, data, reply)
        try:
            return method(data)
        except ConfigError as error:
            return MethodResponse(3, text(str(error)))

    def _read_now(self, _data: Data | None) -> MethodResponse:
        point = self._point
        if not point.on_demand:
            return MethodResponse(3, text("the profile has no on-demand reading"))
        if point.state(self.facilities.now()) != "running":
            return MethodResponse(2, text("the contract does not run"))
        count = self.facilities.read_now(point)
        return MethodResponse(0, unsigned32(count)) if count else _NO_VALUES

    def _switch(self, data: Data | None) -> MethodResponse:
        stage, at, until = _members(data, "switch", int, str, str)
        now = self.facilities.now()
        try:
            begin = parse_device_time(str(at)) if at else now
            end = parse_device_time(str(until))
        except RemoteProtocolError as error:
            raise CosemError(422, str(error), "switch") from error
        assert isinstance(stage, int)
        return self._ordered(self._orders.switch(self._point, stage, begin, end, now))

    def _control(self, data: Data | None) -> MethodResponse:
        (level,) = _members(data, "control", int)
        assert isinstance(level, int)
        return self._ordered(self._orders.control(self._point, level, self.facilities.now()))

    def _capture(self, _data: Data | None) -> MethodResponse:
        return self._ordered(self._orders.capture(self._point, self.facilities.now()))

    def _ordered(self, due: DeviceTime) -> MethodResponse:
        self.facilities.deadlines_moved()
        return MethodResponse(0, text(due.iso()))

    def _read_day(self, data: Data | None) -> MethodResponse:
        if not self._point.on_demand:
            return MethodResponse(3, text("the profile has no on-demand reading"))
        (day,) = _members(data, "read_day", str)
        try:
            wanted = date.fromisoformat(str(day))
        except ValueError as error:
            raise CosemError(422, str(error), "read_day") from error
        count = self.facilities.read_day(self._point, wanted)
        return MethodResponse(0, unsigned32(count)) if count else _NO_VALUES

    @property
    def _orders(self) -> Orders:
        return Orders(self.facilities.device)


def _members(data: Data | None, where: str, *types: type) -> tuple[object, ...]:
    """Return the members of a structure of these types."""
    members = data.value if data is not None and data.kind == "structure" else ()
    values = tuple(item.value for item in members) if isinstance(members, tuple) else ()
    good = len(values) == len(types) and all(
        isinstance(value, wanted) and not isinstance(value, bool)
        for value, wanted in zip(values, types, strict=False)
    )
    if not good:
        names = ", ".join(wanted.__name__ for wanted in types)
        raise CosemError(422, f"a structure of {names} expected", where)
    return values
