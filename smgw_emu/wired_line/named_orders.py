"""Orders to a wired meter by name, as administrator and lab give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lmn.sml import answers, places
from lmn.sml.messages import Message
from lmn.sml.orders import (
    Order,
    clock_state,
    read_information,
    read_log,
    read_registers,
    reset_tamper,
    set_time,
)
from smgw_emu.core.errors import RemoteProtocolError, SmgwError
from smgw_emu.core.instants import DeviceTime, WorldTime
from smgw_emu.core.legal_time import local as local_time
from smgw_emu.core.obis import ACTIVE_ENERGY_IMPORT
from smgw_emu.wired_line.line import WiredLine
from smgw_emu.wired_line.renewal import renew

Done = Callable[[str, str], None]
"""Called once: (result, ""), or ("", what failed)."""

_NAMES = {
    places.DEVICE_TYPE: "type",
    places.DEVICE_ID: "id",
    places.FIRMWARE: "firmware",
    places.FIRMWARE_MODULE: "firmware of the module",
    places.HARDWARE: "hardware",
    places.HARDWARE_MODULE: "hardware of the module",
}
_MAGNETIC, _MECHANICAL = 1 << 9, 1 << 10  # FNN Basiszaehler word as SML sends it, DS table 15.1
_BINARY = {places.DEVICE_TYPE, places.DEVICE_ID}
_CLOCK = ("time", "offset", "state", "last set", "deviation")


def give(line: WiredLine, meter: str, name: str, now: DeviceTime, done: Done) -> None:
    """Carry out a named order.

    Args:
        line: where the meter is.
        meter: its key.
        name: of the order.
        now: device time.
        done: called at the end.

    Raises:
        SmgwError: no such order.
    """

    def finished(result: str, failed: str) -> None:
        line.log(
            "meter-order", outcome="F" if failed else "S", meter=meter, order=name,
            result=failed or result or "OK",
        )  # fmt: skip
        done(result, failed)

    if name == "crypto-reset":
        line.crypto_reset(meter, finished)
    elif name == "renew":
        renew(line, meter, lambda failed: finished("", failed))
    elif name == "reset-tamper":
        _reset_tamper(line, meter, finished)
    elif name in _ORDERS:
        make, read = _ORDERS[name]
        line.order(meter, make(now), _reader(read, finished))
    else:
        known = ", ".join(["crypto-reset", "renew", "reset-tamper", *_ORDERS])
        raise SmgwError(f"no order {name!r} to a meter; there are: {known}")


def _reset_tamper(line: WiredLine, meter: str, done: Done) -> None:
    """Read the status word, then reset what it says (REQ.SML.CLI.ResetTamperState.10, .20)."""

    def told(messages: list[Message]) -> str:
        status = answers.registers(messages, [ACTIVE_ENERGY_IMPORT]).status or 0
        magnetic, mechanical = bool(status & _MAGNETIC), bool(status & _MECHANICAL)
        if not magnetic and not mechanical:
            return "no tamper state is set"
        order = reset_tamper(magnetic=magnetic, mechanical=mechanical)
        line.order(meter, order, _reader(_nothing, done))
        return ""

    def read(result: str, failed: str) -> None:
        if result or failed:
            done(result, failed)

    line.order(meter, read_registers([ACTIVE_ENERGY_IMPORT]), _reader(told, read))


def _reader(read: Callable[[list[Message]], str], done: Done) -> Any:
    def answer(messages: list[Message] | None, reason: str, _at: WorldTime) -> None:
        if messages is None:
            done("", reason)
            return
        try:
            result = read(messages)
        except RemoteProtocolError as error:
            done("", str(error))
            return
        refused = ", ".join(answers.refusals(messages))
        done(result, "" if result else refused)

    return answer


def _time(now: DeviceTime) -> Order:
    offset = local_time(now).utcoffset()
    seconds = 0 if offset is None else int(offset.total_seconds())
    return set_time(now.seconds, seconds, 0, 0)


def _information(messages: list[Message]) -> str:
    found = answers.information(messages)
    return "; ".join(
        f"{_NAMES[place]} {value.hex() if place in _BINARY else value.decode(errors='replace')}"
        for place, value in found.items()
        if place in _NAMES
    )


def _clock(messages: list[Message]) -> str:
    tree = answers.contents(messages).get(places.CLOCK)
    values = answers.numbered(tree) if tree is not None else []
    return "; ".join(f"{name} {value}" for name, value in zip(_CLOCK, values, strict=False))


def _log(messages: list[Message]) -> str:
    found = answers.pack(messages)
    rows = found.periods if found is not None else ()
    return "; ".join(
        f"{DeviceTime.from_seconds(row.val_time.seconds).iso()} "
        + ", ".join(str(cell.value) for cell in row.values)
        for row in rows
    )


def _nothing(_messages: list[Message]) -> str:
    return ""


_ORDERS: dict[str, tuple[Callable[[DeviceTime], Order], Callable[[list[Message]], str]]] = {
    "information": (lambda _now: read_information(), _information),
    "set-time": (_time, _nothing),
    "clock": (lambda _now: clock_state(), _clock),
    "log": (lambda now: read_log(0, now.seconds), _log),
}
