"""What all receivers have in common: a start-up conversation, then telegrams.

Theory of operation. A driver is a parser of its vendor's framing, and a list of start-up steps.
Each step sends a command and waits for the answer that fits; a silent device gets it again, and
after three tries the driver reports :class:`Lost`, whereupon the port is closed and opened anew
later (hot plug). After the last step it reports :class:`Ready`. Telegrams that come earlier count
too. A change of the radio mode runs the steps again.

Octets carry the time they arrived; a telegram carries that of its first octet
(REQ.WMBUS.apl.40: at most 500 ms from there to the time stamp).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import msgspec

from smgw_emu.core.instants import MILLISECOND, SECOND, WorldTime

Mode = Literal["S", "T", "C"]
Form = Literal["bare", "A", "B", "any"]
ANSWER_MS = 800  # own choice; the slowest of them answers within 500 ms
TRIES = 3
MAX_BUFFER = 4096  # far above any packet of any of them
GAP = SECOND  # own choice: a packet that stops for so long is over


class Heard(msgspec.Struct, frozen=True):
    """A telegram.

    Attributes:
        data: the frame.
        form: with checksums of format A or B, without, or not told.
        at: when its first octet arrived.
        mode: radio mode, "" if the receiver does not tell.
        rssi: level in dBm, None if it does not tell.
    """

    data: bytes
    form: Form
    at: WorldTime
    mode: Mode | Literal[""] = ""
    rssi: int | None = None


class Damage(msgspec.Struct, frozen=True):
    """Octets that are no packet of the receiver, or a telegram it marks as broken."""

    reason: str
    octets: int = 0


class Ready(msgspec.Struct, frozen=True):
    """The receiver listens; ``text`` says what it is."""

    text: str


class Lost(msgspec.Struct, frozen=True):
    """The receiver does not answer as it should."""

    reason: str


Event = Heard | Damage | Ready | Lost


class Step(msgspec.Struct, frozen=True):
    """One step of the start-up.

    Attributes:
        name: for the reason of a failure.
        command: octets to send.
        skip_ms: no answer is expected: go on after this time.
        fallback: try these steps once if there is no answer.
    """

    name: str
    command: bytes
    skip_ms: int = 0
    fallback: tuple[Step, ...] = ()


class Stick(ABC):
    """Base of the drivers.

    Args:
        modes: radio modes to listen to.
    """

    BAUD = 9600
    NAME = ""

    def __init__(self, modes: frozenset[str]) -> None:
        self.modes = modes
        self._buffer = bytearray()
        self._begun: WorldTime | None = None
        self._steps: list[Step] = []
        self._tries = 0
        self._due: WorldTime | None = None
        self._out = b""
        self.text = self.NAME

    # -- start-up --------------------------------------------------------------------------

    @abstractmethod
    def steps(self) -> list[Step]:
        """Return the start-up steps for the wanted modes."""

    def start(self, now: WorldTime) -> list[Event]:
        """Begin: the port is open."""
        self._buffer.clear()
        self._begun = None
        self._steps = self.steps()
        self._tries = 0
        return self._go(now)

    def tune(self, modes: frozenset[str], now: WorldTime) -> list[Event]:
        """Listen to other modes."""
        self.modes = modes
        self._steps = self.steps()
        self._tries = 0
        return self._go(now)

    def _go(self, now: WorldTime) -> list[Event]:
        if not self._steps:
            self._due = None
            return [Ready(self.text)]
        step = self._steps[0]
        self._out += step.command
        self._tries += 1
        self._due = now + (step.skip_ms or ANSWER_MS) * MILLISECOND
        return []

    def _answered(self, now: WorldTime, name: str) -> list[Event]:
        """Go on if the present step is the one that was answered."""
        if not self._steps or self._steps[0].name != name:
            return []
        del self._steps[0]
        self._tries = 0
        return self._go(now)

    def next_deadline(self) -> WorldTime | None:
        """Return when :meth:`on_deadline` must be called."""
        return self._due

    def on_deadline(self, now: WorldTime) -> list[Event]:
        """Repeat a command, or give up."""
        if self._due is None or now < self._due or not self._steps:
            return []
        step = self._steps[0]
        if step.skip_ms:
            return self._answered(now, step.name)
        if self._tries < TRIES:
            return self._go(now)
        if step.fallback:
            self._steps = [*step.fallback, msgspec.structs.replace(step, fallback=())]
            self._steps += self.steps()[1:]
            self._tries = 0
            return self._go(now)
        self._steps, self._due = [], None
        return [Lost(f"no {self.NAME} answers ({step.name})")]

    def output(self) -> bytes:
        """Return octets to send, once."""
        out, self._out = self._out, b""
        return out

    # -- octets ----------------------------------------------------------------------------

    def receive(self, data: bytes, now: WorldTime) -> list[Event]:
        """Take octets that arrived at ``now``."""
        events: list[Event] = []
        if self._buffer and self._begun is not None and now - self._begun > GAP:
            events.append(Damage("a packet was cut off", len(self._buffer)))
            self._buffer.clear()
        if not self._buffer:
            self._begun = now
        self._buffer += data
        while self._buffer:
            before = len(self._buffer)
            events += self._packet(self._begun or now, now)
            if len(self._buffer) == before:
                break
            self._begun = now
        if len(self._buffer) > MAX_BUFFER:
            events.append(Damage("no packet", len(self._buffer)))
            self._buffer.clear()
        return events

    @abstractmethod
    def _packet(self, begun: WorldTime, now: WorldTime) -> list[Event]:
        """Take one packet out of the buffer, or leave it if octets are missing."""

    def _drop_until(self, start: int, reason: str) -> list[Event]:
        """Leave out octets before the next start octet; returns the damage."""
        at = self._buffer.find(start, 1)
        count = len(self._buffer) if at < 0 else at
        del self._buffer[:count]
        return [Damage(reason, count)]


class LineStick(Stick):
    """A receiver that speaks in lines of text."""

    def _packet(self, begun: WorldTime, now: WorldTime) -> list[Event]:
        end = self._buffer.find(b"\n")
        if end < 0:
            return []
        line = bytes(self._buffer[:end]).strip()
        del self._buffer[: end + 1]
        return self._line(line, begun, now) if line else []

    @abstractmethod
    def _line(self, line: bytes, begun: WorldTime, now: WorldTime) -> list[Event]:
        """Read a line."""


def unhex(text: bytes) -> bytes | None:
    """Return the octets of hex digits, None if they are none."""
    try:
        return bytes.fromhex(text.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        return None
