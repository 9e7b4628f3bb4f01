"""Answers of a wired meter to orders (DS v2.0 9.3.4; LMN-N04).

A register comes as a tree whose children are named by attribute: 0002 the value, 0003 scaler and
unit, 0004 the status or, where it is a time, the moment of measuring. Scaler and unit are
themselves children 0001 and 0002, in COSEM's order; a tuple of one period entry is taken too.
A register that the meter does not have is answered with an attention message and left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lmn.sml import places
from lmn.sml.bodies import (
    AttentionResponse,
    GetProcParameterResponse,
    GetProfileListResponse,
    GetProfilePackResponse,
    ListEntry,
    OpenResponse,
    PeriodEntry,
    Time,
    Tree,
)
from lmn.sml.messages import Message
from lmn.sml.places import Place, read_entry
from lmn.sml.report import MAX_SCALER
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.obis import Obis
from smgw_emu.core.values import MeterValue

_PREFIX = bytes.fromhex("8181c7c7")
ATTENTIONS = {
    0xFD00: "ok",
    0xFD01: "job running",
    0xFE00: "unknown error",
    0xFE01: "unknown SML id",
    0xFE02: "not authorised",
    0xFE03: "no recipient for the server id",
    0xFE04: "no request field",
    0xFE05: "cannot be written",
    0xFE06: "cannot be read",
    0xFE07: "communication disturbed",
    0xFE08: "parser error",
    0xFE09: "out of range",
    0xFE0A: "not executed",
    0xFE0B: "wrong checksum",
    0xFE0C: "broadcast not allowed",
    0xFE0D: "unexpected message",
    0xFE0E: "unknown OBIS code",
    0xFE0F: "data type not supported",
    0xFE10: "element is not optional",
    0xFE11: "no entries",
    0xFE12: "end before start",
    0xFE13: "empty range",
    0xFE14: "close missing",
}  # lmn-wired.md 2.3
OK = 0xFD00


def attention(number: int) -> bytes:
    """Return an attention number with its prefix."""
    return _PREFIX + number.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class Registers:
    """What a meter answered to a request for registers.

    Attributes:
        values: numbers with scaler and unit, in the order of the answer.
        status: of the first register that has one, None: no fault.
        age_s: refTime - valTime, None where one of them is missing.
        reference: refTime as a number of seconds, for the check that it rises.
        refused: attention texts.
    """

    values: tuple[MeterValue, ...] = ()
    status: int | None = None
    age_s: int | None = None
    reference: int | None = None
    refused: tuple[str, ...] = ()


@dataclass(slots=True)
class _Register:
    value: int | None = None
    scaler: int = 0
    unit: int | None = None
    status: int | None = None
    time: Time | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """Whether the meter did what was ordered; ``refused`` says why not."""

    refused: tuple[str, ...] = field(default=())


def refusals(messages: Iterable[Message]) -> tuple[str, ...]:
    """Return the texts of all attention messages that are no OK."""
    found = []
    for message in messages:
        body = message.body
        if not isinstance(body, AttentionResponse):
            continue
        number = int.from_bytes(body.number[-2:], "big") if len(body.number) == 6 else 0
        if number not in {OK, 0xFD01} or not body.number.startswith(_PREFIX):
            found.append(ATTENTIONS.get(number, f"attention {body.number.hex()}"))
    return tuple(found)


def registers(messages: list[Message], asked: Iterable[Obis]) -> Registers:
    """Read the answer to a request for registers; what was not asked for is left out.

    Raises:
        RemoteProtocolError: an answer has another form.
    """
    wanted = set(asked)
    values: list[MeterValue] = []
    status: int | None = None
    measured: Time | None = None
    for message in messages:
        body = message.body
        if not isinstance(body, GetProcParameterResponse):
            continue
        place = _place(body)
        if place.obis not in wanted:
            continue
        wanted.discard(place.obis)  # a second answer does not count
        found = _register(body.tree)
        if found.status is not None and status is None:
            status = found.status
        measured = measured or found.time
        if found.value is not None and found.unit is not None and abs(found.scaler) <= MAX_SCALER:
            values.append(MeterValue(place.obis, found.value, found.scaler, found.unit))
    reference = _reference(messages)
    age = None
    if reference is not None and measured is not None and reference.kind == measured.kind:
        age = max(0, reference.seconds - measured.seconds)
    return Registers(
        tuple(values),
        status,
        age,
        None if reference is None else reference.seconds,
        refusals(messages),
    )


def contents(messages: list[Message]) -> dict[Place, Tree]:
    """Return the trees of an answer by object.

    Raises:
        RemoteProtocolError: a tree path has another form.
    """
    return {
        _place(message.body): message.body.tree
        for message in messages
        if isinstance(message.body, GetProcParameterResponse)
    }


def information(messages: list[Message]) -> dict[Place, bytes]:
    """Return device information by object; what the meter lacks is left out."""
    return {
        place: value
        for place, tree in contents(messages).items()
        if isinstance(value := _attribute(tree, places.VALUE).value, bytes)
    }


def numbered(tree: Tree) -> list[object]:
    """Return the values of numbered children in order."""
    inner = _attribute(tree, places.VALUE)
    return [child.value for child in inner.children or ()]


def pack(messages: list[Message]) -> GetProfilePackResponse | None:
    """Return the profile pack of an answer."""
    found = (m.body for m in messages if isinstance(m.body, GetProfilePackResponse))
    return next(found, None)


def profile_rows(messages: list[Message]) -> list[GetProfileListResponse]:
    """Return the moments of a profile list."""
    return [m.body for m in messages if isinstance(m.body, GetProfileListResponse)]


def _place(body: GetProcParameterResponse) -> Place:
    if not body.tree_path:
        raise RemoteProtocolError("an answer without tree path")
    return read_entry(body.tree_path[0])


def _reference(messages: list[Message]) -> Time | None:
    return next((m.body.ref_time for m in messages if isinstance(m.body, OpenResponse)), None)


def _attribute(tree: Tree, name: bytes) -> Tree:
    """Return the child of that name, or the tree itself where it stands for the attribute."""
    found = next((child for child in tree.children or () if child.name == name), None)
    return tree if found is None else found


def _register(tree: Tree) -> _Register:
    found = _Register()
    _take(found, tree)
    for child in tree.children or ():
        _take(found, child)
    return found


def _take_entry(found: _Register, entry: ListEntry | PeriodEntry) -> None:
    found.scaler = entry.scaler or 0
    found.unit = entry.unit
    if type(entry.value) is int:
        found.value = entry.value
    if isinstance(entry, ListEntry):
        found.status = entry.status if found.status is None else found.status
        found.time = entry.time or found.time


def _take(found: _Register, tree: Tree) -> None:
    value = tree.value
    if isinstance(value, (ListEntry, PeriodEntry)):
        _take_entry(found, value)
    elif tree.name == places.VALUE and type(value) is int:
        found.value = value
    elif tree.name == places.SCALER_UNIT:
        inner = {child.name: child.value for child in tree.children or ()}
        scaler, unit = inner.get(b"\x00\x01"), inner.get(b"\x00\x02")
        found.scaler = scaler if type(scaler) is int else found.scaler
        found.unit = unit if type(unit) is int else found.unit
    elif tree.name == places.STATUS:
        if isinstance(value, Time):
            found.time = value
        elif type(value) is int:
            found.status = value
