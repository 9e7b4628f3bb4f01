"""A wired meter's answers to SML orders: the counterpart of :mod:`lmn.sml.orders`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from lmn.sml import places
from lmn.sml.answers import attention
from lmn.sml.bodies import (
    AttentionResponse,
    Body,
    CloseRequest,
    CloseResponse,
    GetListRequest,
    GetListResponse,
    GetProcParameterRequest,
    GetProcParameterResponse,
    GetProfileListRequest,
    GetProfileListResponse,
    GetProfilePackRequest,
    GetProfilePackResponse,
    ListEntry,
    OpenRequest,
    OpenResponse,
    PeriodEntry,
    SetProcParameterRequest,
    Time,
    Tree,
)
from lmn.sml.messages import Message, decode_messages, encode_messages
from lmn.sml.places import Place, read_entry
from lmn.sml.transport import encode_frame
from lmn.sym.meter import PairingMemory, split_der
from smgw_emu.bench.meters.wired.registers import (
    MAGNETIC,
    MECHANICAL,
    MeterRegisters,
    RegisterValue,
)
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import WorldTime
from smgw_emu.core.obis import Obis

OK, UNKNOWN, NOT_WRITABLE, WRONG_TYPE, UNEXPECTED, EMPTY = (
    0xFD00, 0xFE0E, 0xFE05, 0xFE0F, 0xFE0D, 0xFE13,
)  # fmt: skip
MAX_FILE = 1 << 20


class _Refused(Exception):  # noqa: N818  # an answer, not an error
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass(slots=True)
class Received:
    """A file the gateway brings."""

    name: str = ""
    kind: str = ""
    size: int = 0
    data: bytearray = field(default_factory=bytearray)
    blocks: int = 0

    @property
    def complete(self) -> bool:
        """Whether all of it is there."""
        return bool(self.size) and len(self.data) == self.size


class SmlServer:
    """Answers one meter's orders.

    Args:
        server_id: of the meter.
        registers: its values.
        memory: keys and certificates.
        renewed: called when a certificate or the key was replaced.
    """

    def __init__(
        self,
        server_id: bytes,
        registers: MeterRegisters,
        memory: PairingMemory,
        renewed: Callable[[], None] = lambda: None,
    ) -> None:
        self._id = server_id
        self._registers = registers
        self._memory = memory
        self._renewed = renewed
        self._number = 0
        self.file = Received()
        self.clock: tuple[int, ...] = ()
        self.answered = 0

    def answer(self, payload: bytes, now: WorldTime) -> bytes:
        """Return the file that answers an order."""
        bodies: list[Body] = []
        try:
            messages = decode_messages(payload)
        except RemoteProtocolError:
            bodies.append(self._attention(0xFE08))
            messages = []
        for message in messages:
            bodies += self._all(message.body, now)
        self.answered += 1
        self._number += len(bodies)
        first = self._number - len(bodies)
        numbered = [
            Message((first + index & 0xFFFFFFFF).to_bytes(4, "big"), body)
            for index, body in enumerate(bodies)
        ]
        return encode_frame(encode_messages(numbered))

    def _all(self, body: Body, now: WorldTime) -> list[Body]:
        """Return the messages that answer one: a profile list has one for each moment."""
        if not isinstance(body, GetProfileListRequest):
            return [self._one(body, now)]
        pack = self._one(GetProfilePackRequest(**msgspec.structs.asdict(body)), now)
        if not isinstance(pack, GetProfilePackResponse):
            return [pack]
        return [
            GetProfileListResponse(
                pack.server_id,
                pack.act_time,
                pack.period_s,
                pack.tree_path,
                row.val_time,
                row.status,
                tuple(
                    PeriodEntry(head.name, head.unit, head.scaler, cell.value)
                    for head, cell in zip(pack.headers, row.values, strict=True)
                ),
            )
            for row in pack.periods
        ]

    def _one(self, body: Body, now: WorldTime) -> Body:
        try:
            match body:
                case OpenRequest():
                    time = Time(1, self._registers.seconds(now))
                    return OpenResponse(None, body.client_id, body.file_id, self._id, time, 1)
                case CloseRequest():
                    return CloseResponse()
                case GetProcParameterRequest():
                    return self._get(body, now)
                case SetProcParameterRequest():
                    self._set(body)
                    return self._attention(OK)
                case GetListRequest():
                    return self._list(now)
                case GetProfilePackRequest():
                    return self._pack(body, now)
        except (_Refused, RemoteProtocolError) as error:
            return self._attention(error.number if isinstance(error, _Refused) else 0xFE08)
        return self._attention(UNEXPECTED)

    def _attention(self, number: int) -> AttentionResponse:
        return AttentionResponse(self._id, attention(number))

    # -- reading ---------------------------------------------------------------------------

    def _get(self, body: GetProcParameterRequest, now: WorldTime) -> GetProcParameterResponse:
        if not body.tree_path:
            raise _Refused(UNKNOWN)
        place = read_entry(body.tree_path[0])
        children = tuple(self._attribute(place, name, now) for name in body.tree_path[1:])
        delay = self._registers.delay_s
        if delay is not None and places.STATUS in body.tree_path:
            measured = Time(1, self._registers.seconds(now) - delay)
            children += (Tree(places.CAPTURE_TIME, measured),)
        return GetProcParameterResponse(self._id, body.tree_path, Tree(place.entry, None, children))

    def _attribute(self, place: Place, name: bytes, now: WorldTime) -> Tree:
        found = self._registers.values(now).get(place.obis)
        if found is not None and place.class_id == places.register(place.obis).class_id:
            return self._register_attribute(found, name, now)
        if name != places.VALUE:
            raise _Refused(UNKNOWN)
        if place == places.CLOCK:
            return Tree(name, None, _numbered(self._clock_state(now)))
        value = self._data(now).get(place)
        if value is None:
            raise _Refused(UNKNOWN)
        return Tree(name, value)

    def _register_attribute(self, found: RegisterValue, name: bytes, now: WorldTime) -> Tree:
        if name == places.VALUE:
            return Tree(name, found.value)
        if name == places.SCALER_UNIT:
            inner = (Tree(b"\x00\x01", found.scaler), Tree(b"\x00\x02", found.unit))
            return Tree(name, None, inner)
        if name == places.STATUS:
            return Tree(name, self._registers.status(now))
        raise _Refused(UNKNOWN)

    def _data(self, now: WorldTime) -> dict[Place, bytes | int]:
        model = self._registers.model
        return {
            places.DEVICE_TYPE: model.device_type,
            places.DEVICE_ID: self._id,
            places.FIRMWARE: model.firmware.encode(),
            places.FIRMWARE_MODULE: b"LMN 1.0.0",
            places.HARDWARE: model.hardware.encode(),
            places.HARDWARE_MODULE: b"RS-485",
            places.SECONDS_INDEX: self._registers.seconds(now),
        }

    def _clock_state(self, now: WorldTime) -> tuple[int, ...]:
        """Time, offset, state (0 valid, 2 not synchronised), last set, deviation found then [I]."""
        last = self.clock[0] if self.clock else 0
        offset = self.clock[2] if self.clock else 0
        deviation = self.clock[3] if self.clock else 0
        return now.seconds, offset, 0 if self.clock else 2, last, deviation

    def _list(self, now: WorldTime) -> GetListResponse:
        time = Time(1, self._registers.seconds(now))
        status = self._registers.status(now)
        entries = tuple(
            ListEntry(obis.octets, one.value, one.unit, one.scaler, status if not index else None)
            for index, (obis, one) in enumerate(self._registers.values(now).items())
        )
        return GetListResponse(None, self._id, None, time, entries)

    def _pack(self, body: GetProfilePackRequest, now: WorldTime) -> GetProfilePackResponse:
        place = read_entry(body.tree_path[0]) if body.tree_path else None
        begin = body.begin_time.seconds if body.begin_time else 0
        end = body.end_time.seconds if body.end_time else now.seconds
        if end < begin:
            raise _Refused(0xFE12)
        self._registers.advance(now)
        if place == places.EVENT_LOG:
            headers, rows = self._registers.log(begin, end)
        elif place == places.LOAD_PROFILE and self._registers.registering:
            wanted = tuple(Obis(name) for name in body.object_list or () if len(name) == 6)
            headers, rows = self._registers.profile(begin, end, wanted)
        else:
            raise _Refused(UNKNOWN)
        if not rows:
            raise _Refused(EMPTY)
        time = Time(1, self._registers.seconds(now))
        period = 900 if place == places.LOAD_PROFILE else 0
        return GetProfilePackResponse(self._id, time, period, body.tree_path, headers, rows)

    # -- writing ---------------------------------------------------------------------------

    def _set(self, body: SetProcParameterRequest) -> None:
        place = read_entry(body.tree_path[0]) if body.tree_path else None
        value = body.tree.value
        match place:
            case places.METER_KEY:
                self._new_key(value)
            case places.GATEWAY_CERTIFICATE:
                old = self._memory.gateway_certificates[:1]
                self._memory.gateway_certificates = (*split_der(_octets(value))[:1], *old)
                self._renewed()
            case places.MAGNETIC_RESET:
                self._reset(value, MAGNETIC)
            case places.MECHANICAL_RESET:
                self._reset(value, MECHANICAL)
            case places.CLOCK:
                self.clock = tuple(v for v in _children(body.tree) if isinstance(v, int))
            case places.FILE_BEGIN:
                self._begin_file(_children(body.tree))
            case places.FILE_BLOCK:
                self._block(_children(body.tree))
            case _:
                raise _Refused(NOT_WRITABLE)

    def _new_key(self, value: object) -> None:
        found = split_der(_octets(value))
        if len(found) != 2:
            raise _Refused(WRONG_TYPE)
        self._memory.certificate, self._memory.key = found
        self._renewed()

    def _reset(self, value: object, bits: int) -> None:
        if value is not True:
            raise _Refused(WRONG_TYPE)
        self._registers.clear(bits)

    def _begin_file(self, values: list[object]) -> None:
        if len(values) != 3 or not isinstance(values[2], int) or not 0 < values[2] <= MAX_FILE:
            raise _Refused(0xFE09)
        name, kind = _octets(values[0]), _octets(values[1])
        self.file = Received(
            name.decode(errors="replace"), kind.decode(errors="replace"), values[2]
        )

    def _block(self, values: list[object]) -> None:
        if len(values) != 2 or values[0] != self.file.blocks + 1:
            raise _Refused(0xFE09)
        piece = _octets(values[1])
        if len(self.file.data) + len(piece) > self.file.size:
            raise _Refused(0xFE09)
        self.file.data += piece
        self.file.blocks += 1


def _octets(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise _Refused(WRONG_TYPE)
    return value


def _children(tree: Tree) -> list[object]:
    return [child.value for child in tree.children or ()]


def _numbered(values: tuple[int, ...]) -> tuple[Tree, ...]:
    return tuple(Tree(number.to_bytes(2, "big"), v) for number, v in enumerate(values, start=1))
