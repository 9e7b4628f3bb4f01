"""From SML list responses to what metering takes: :class:`~smgw_emu.core.values.MeterReport`."""

from __future__ import annotations

from collections.abc import Iterable

from lmn.sml.bodies import GetListResponse
from lmn.sml.messages import Message
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.ids import DeviceId
from smgw_emu.core.obis import Obis
from smgw_emu.core.values import MeterReport, MeterValue

MAX_SCALER = 30  # beyond any register; keeps Decimal exact


def meter_key(server_id: bytes) -> str:
    """Return the device id in lower case; hex where the octets are no DIN 43863-5 id."""
    try:
        return DeviceId.from_server_id(server_id).lower
    except RemoteProtocolError:
        return server_id.hex()


def reports(messages: Iterable[Message]) -> list[MeterReport]:
    """Return one report per list response: its numeric registers with scaler and unit.

    A missing scaler means 0. Entries without a number or unit (serial numbers, keys) are left out.
    The status is that of the first register that carries one.
    """
    result = []
    for message in messages:
        body = message.body
        if not isinstance(body, GetListResponse):
            continue
        values = []
        status = None
        for entry in body.entries:
            if status is None:
                status = entry.status
            value, unit, scaler = entry.value, entry.unit, entry.scaler or 0
            if type(value) is not int or unit is None or len(entry.name) != 6:
                continue
            if abs(scaler) <= MAX_SCALER:
                values.append(MeterValue(Obis(entry.name), value, scaler, unit))
        result.append(MeterReport(meter_key(body.server_id), tuple(values), status))
    return result
