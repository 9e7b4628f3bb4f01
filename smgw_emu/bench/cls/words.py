"""What the bench's CLS management and Steuerbox say: one JSON object per line. TEST, no standard.

To the box: ``{"id": 1, "do": "limit", "watts": 4200, "seconds": 7200}``, ``release``, ``relay``
with ``number`` and ``on``, ``schedule`` with ``steps`` of ``at`` (seconds from now) and ``watts``,
``heartbeat``, ``status``. From the box: ``{"id": 1, "ok": true, "state": "limited", ...}``.
IEC 61850 or EEBUS may be carried just as well: see ``--forward`` of both commands.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from smgw_emu.core.errors import RemoteProtocolError

MAX_LINE = 65_536
Watts = int


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a schedule: from ``at`` seconds on at most ``watts``; None: no limit."""

    at: int
    watts: Watts | None = None


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An order to a box."""

    id: int
    do: Literal["limit", "release", "relay", "schedule", "heartbeat", "status"]
    watts: Watts = 0
    seconds: int = 0
    number: int = 0
    on: bool = False
    steps: tuple[Step, ...] = ()


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A box's answer: its state after the order, or why it was refused."""

    id: int
    ok: bool
    state: str = ""
    limit: Watts | None = None
    relays: tuple[bool, ...] = ()
    reason: str = ""


class LineReader:
    """Cuts a stream into lines of bounded length."""

    def __init__(self) -> None:
        self._rest = b""

    def receive(self, data: bytes) -> list[bytes]:
        """Return the complete lines.

        Raises:
            RemoteProtocolError: a line is too long.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE or any(len(line) > MAX_LINE for line in lines):
            raise RemoteProtocolError("line too long")
        return lines


def read_order(line: bytes) -> Order:
    """Read an order.

    Raises:
        RemoteProtocolError: no order.
    """
    try:
        order = msgspec.json.decode(line, type=Order)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"no order: {error}") from error
    good = order.watts >= 0 and order.seconds >= 0 and all(step.at >= 0 for step in order.steps)
    if not good:
        raise RemoteProtocolError("no order: a negative value")
    return order


def read_answer(line: bytes) -> Answer:
    """Read an answer.

    Raises:
        RemoteProtocolError: no answer.
    """
    try:
        return msgspec.json.decode(line, type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"no answer: {error}") from error


def write(message: Order | Answer) -> bytes:
    """Return a message as a line."""
    return msgspec.json.encode(message) + b"\n"
