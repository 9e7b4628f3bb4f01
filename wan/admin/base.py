"""What every object of the tree is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.legal_time import local as local_time
from wan.admin.facilities import Facilities
from wan.cosem.address import Query
from wan.cosem.data import Data, octets, text
from wan.cosem.documents import MethodResponse
from wan.cosem.errors import CosemError
from wan.cosem.selection import select
from wan.cosem.service import Reply

DONE = MethodResponse(0)
Done = Callable[[str, str], None]
"""Told the end of an order: (result, failure)."""


class Provider(Protocol):
    """An object of the tree."""

    class_id: int
    name: str

    def read(self, index: int, query: Query) -> Data:
        """The value of an attribute."""

    def write(self, values: dict[int, Data]) -> None:
        """Set attributes, all or none."""

    def call(self, index: int, data: Data | None, reply: Reply | None) -> MethodResponse | None:
        """Run a method."""


def date_time(moment: DeviceTime, *, valid: bool = True) -> Data:
    """Return COSEM date-time of legal local time, 12 octets (IEC 62056-6-2 4.1.6.1)."""
    local = local_time(moment)
    offset = local.utcoffset()
    minutes = 0 if offset is None else int(offset.total_seconds() // 60)
    status = (0x80 if local.dst() else 0) | (0 if valid else 0x01)
    fields = bytes((local.month, local.day, local.isoweekday(), local.hour, local.minute))
    return Data(
        "date_time",
        local.year.to_bytes(2, "big")
        + fields
        + bytes((local.second, local.microsecond // 10_000))
        + (-minutes).to_bytes(2, "big", signed=True)
        + bytes((status,)),
    )


class Plain:
    """Base: logical name, attributes by functions, nothing to write or call."""

    class_id = 1
    name = ""

    def __init__(self, facilities: Facilities) -> None:
        self.facilities = facilities

    def attributes(self) -> dict[int, Callable[[], Data]]:
        """Return the attributes above 1."""
        return {}

    def read(self, index: int, query: Query) -> Data:
        """Return an attribute."""
        if index == 1:
            return octets(bytes.fromhex(self.name))
        found = self.attributes().get(index)
        if found is None:
            raise CosemError(404, "no such attribute")
        return select(found(), (), query)

    def write(self, values: dict[int, Data]) -> None:  # noqa: ARG002
        """Refuse."""
        raise CosemError(405, "this attribute cannot be written")

    def call(
        self,
        index: int,  # noqa: ARG002
        data: Data | None,  # noqa: ARG002
        reply: Reply | None,  # noqa: ARG002
    ) -> MethodResponse | None:
        """Refuse."""
        raise CosemError(404, "no such method")


class Ordered(Plain):
    """An object whose methods are orders with an answer that comes later (Anlage II 7.5).

    Args:
        facilities: what it works with.
        subject: whom the orders are for, in words.
        orders: name of the order by number of the method.
    """

    def __init__(self, facilities: Facilities, subject: str, orders: Mapping[int, str]) -> None:
        super().__init__(facilities)
        self._subject = subject
        self._orders = orders

    def give(self, order: str, done: Done) -> None:
        """Hand an order on; ``done`` is told its end.

        Raises:
            SmgwError: it cannot be carried out now.
        """
        raise NotImplementedError

    def call(self, index: int, data: Data | None, reply: Reply | None) -> MethodResponse | None:
        """Run a method of the class table."""
        order = self._orders.get(index)
        if order is None:
            return super().call(index, data, reply)
        if reply is None:
            raise CosemError(408, "the result comes later: x-CID is needed (Anlage II 7.5)")
        facilities, what = self.facilities, f"{self._subject} {order} {reply.cid}"

        def done(result: str, failed: str) -> None:
            status = 3 if failed else 0  # read-write-denied of IEC 62056-5-3 stands for a refusal
            facilities.finished(what, MethodResponse(status, text(failed or result)))

        facilities.answer_later(what, reply)
        try:
            self.give(order, done)
        except SmgwError as error:
            facilities.forget(what)
            return MethodResponse(2, text(str(error)))  # temporary-failure
        return None
