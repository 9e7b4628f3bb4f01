"""Requests of the gateway to a wired meter, as SML files (DS v2.0 9.3; LMN-N04).

An order is one file: PublicOpen.Req, requests, PublicClose.Req. ``serverId``, ``username``,
``password`` and ``attribute`` stay absent (REQ.SML.CLI.RequestMeterData.20). The answers are read
in :mod:`lmn.sml.answers`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from lmn.sml import places
from lmn.sml.bodies import (
    Body,
    CloseRequest,
    GetListRequest,
    GetProcParameterRequest,
    GetProfileListRequest,
    GetProfilePackRequest,
    OpenRequest,
    SetProcParameterRequest,
    Time,
    Tree,
    Value,
)
from lmn.sml.messages import Message, encode_messages
from lmn.sml.places import Place
from lmn.sml.transport import encode_frame
from smgw_emu.core.obis import Obis


class OrderKind(StrEnum):
    """What an order is for; the names of DS v2.0 table 9.1."""

    READ = "RequestMeterData"
    INFORMATION = "ReadDeviceInfo"
    METER_KEY = "UpdateMtrCertAndKey"
    GATEWAY_CERTIFICATE = "UpdateSmgwCert"
    SET_TIME = "UpdateTime"
    CLOCK_STATE = "GetClockState"
    SEND_FILE = "TransferFileToMeter"
    READ_FILE = "ReadFileFromMeter"
    REGISTERED = "ReadRegisteredValues"
    RESET_TAMPER = "ResetTamperState"


@dataclass(frozen=True, slots=True)
class Order:
    """What to ask, in one file; secrets in it never show."""

    kind: OrderKind
    bodies: tuple[Body, ...]

    def __repr__(self) -> str:
        return f"Order({self.kind})"


def encode_order(order: Order, client_id: bytes, number: int) -> bytes:
    """Return the file of an order.

    Args:
        order: what to ask.
        client_id: server id of the gateway.
        number: of the file, in the file id.
    """
    file_id = (number & 0xFFFFFFFF).to_bytes(4, "big")
    bodies = (OpenRequest(None, client_id, file_id), *order.bodies, CloseRequest())
    messages = [Message(index.to_bytes(4, "big"), body) for index, body in enumerate(bodies)]
    return encode_frame(encode_messages(messages))


def get(place: Place, *attributes: bytes) -> GetProcParameterRequest:
    """Ask for attributes of an object."""
    return GetProcParameterRequest(None, None, None, (place.entry, *attributes))


def put(
    place: Place, value: Value = None, children: tuple[Tree, ...] | None = None
) -> SetProcParameterRequest:
    """Write the value of an object."""
    path = (place.entry, places.VALUE)
    tree = Tree(places.VALUE, value, children)
    return SetProcParameterRequest(None, None, None, path, tree)


# -- the orders ------------------------------------------------------------------------------


def read_registers(registers: Iterable[Obis]) -> Order:
    """Ask for value, scaler and unit, and status of registers."""
    attributes = (places.VALUE, places.SCALER_UNIT, places.STATUS)
    bodies = tuple(get(places.register(obis), *attributes) for obis in registers)
    return Order(OrderKind.READ, bodies)


def read_information() -> Order:
    """Ask for device type, id, firmware and hardware (DS v2.0 table 9.2)."""
    bodies = tuple(get(place, places.VALUE) for place in places.INFORMATION)
    return Order(OrderKind.INFORMATION, bodies)


def update_meter_key(certificate: bytes, key: bytes) -> Order:
    """Bring a new certificate and its private key (DER) to the meter."""
    return Order(OrderKind.METER_KEY, (put(places.METER_KEY, certificate + key),))


def update_gateway_certificate(certificate: bytes) -> Order:
    """Bring the gateway's new certificate to the meter."""
    return Order(OrderKind.GATEWAY_CERTIFICATE, (put(places.GATEWAY_CERTIFICATE, certificate),))


def set_time(seconds: int, offset_s: int, deviation_ms: int, round_trip_ms: int) -> Order:
    """Bring the legal time (DS v2.0 9.3.5.1; layout [I]).

    Args:
        seconds: since 1970.
        offset_s: of local time to UTC.
        deviation_ms: of our clock to the time server.
        round_trip_ms: between gateway and meter.
    """
    values = (seconds, 1970, offset_s, deviation_ms, round_trip_ms)
    return Order(OrderKind.SET_TIME, (put(places.CLOCK, children=_numbered(values)),))


def clock_state() -> Order:
    """Ask for the state of the meter's clock."""
    return Order(OrderKind.CLOCK_STATE, (get(places.CLOCK, places.VALUE),))


def reset_tamper(*, magnetic: bool, mechanical: bool) -> Order:
    """Write true where the status word says tamper (REQ.SML.CLI.ResetTamperState.10, .20)."""
    bodies = []
    if magnetic:
        bodies.append(put(places.MAGNETIC_RESET, True))
    if mechanical:
        bodies.append(put(places.MECHANICAL_RESET, True))
    return Order(OrderKind.RESET_TAMPER, tuple(bodies))


def registered_values(registers: Iterable[Obis], begin: int, end: int) -> Order:
    """Ask for stored values from ``begin`` to ``end`` (seconds since 1970)."""
    objects = tuple(obis.octets for obis in registers)
    return Order(OrderKind.REGISTERED, (_pack(places.LOAD_PROFILE, begin, end, objects),))


def read_log(begin: int, end: int) -> Order:
    """Ask for the meter's event log from ``begin`` to ``end`` (seconds since 1970)."""
    return Order(OrderKind.READ_FILE, (_pack(places.EVENT_LOG, begin, end, None),))


def read_list(client_id: bytes) -> Order:
    """Ask for all registers at once (SML_GetList)."""
    return Order(OrderKind.READ, (GetListRequest(client_id),))


def profile_list(registers: Iterable[Obis], begin: int, end: int) -> Order:
    """Ask for stored values, one message for each moment (SML_GetProfileList)."""
    objects = tuple(obis.octets for obis in registers)
    path = (places.LOAD_PROFILE.entry,)
    begin_time, end_time = Time(3, begin, 0, 0), Time(3, end, 0, 0)
    request = GetProfileListRequest(None, None, None, None, begin_time, end_time, path, objects)
    return Order(OrderKind.REGISTERED, (request,))


def _pack(
    place: Place, begin: int, end: int, objects: tuple[bytes, ...] | None
) -> GetProfilePackRequest:
    path = (place.entry,)
    return GetProfilePackRequest(
        None, None, None, None, Time(3, begin, 0, 0), Time(3, end, 0, 0), path, objects
    )


def send_file(name: str, kind: str, content: bytes, block: int = 1024) -> list[Order]:
    """Bring a file: one order that announces it, one for each numbered block (layout [I])."""
    head = _numbered((name.encode(), kind.encode(), len(content)))
    orders = [Order(OrderKind.SEND_FILE, (put(places.FILE_BEGIN, children=head),))]
    for number, start in enumerate(range(0, len(content), block), start=1):
        piece = _numbered((number, content[start : start + block]))
        orders.append(Order(OrderKind.SEND_FILE, (put(places.FILE_BLOCK, children=piece),)))
    return orders


def _numbered(values: tuple[Value, ...]) -> tuple[Tree, ...]:
    return tuple(
        Tree(index.to_bytes(2, "big"), value) for index, value in enumerate(values, start=1)
    )
