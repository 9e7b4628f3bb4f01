"""The line of an RS-485 bus in simulated time, without I/O.

Theory of operation. A node sends octets at a moment; they occupy the line for ten bit times each.
Every other node hears each piece when its last octet has passed, and, with local echo, the sender
too. Octets that two nodes send at the same time are destroyed for all. Faults come from a seed, so
a run repeats: bit errors, whole transmissions lost, octets swallowed, delay, a node at another
speed (it hears and sends garbage), nodes that are unplugged.

:meth:`BusSim.run_until` moves time: it hands out what is heard and calls the nodes' deadlines, in
order. Nothing here waits.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field
from typing import Protocol

from smgw_emu.core.instants import SECOND, WorldTime

BITS_PER_OCTET = 10
_KEEP = SECOND  # how long a transmission can still collide


class Node(Protocol):
    """What is on the bus; the machines of gateway and meters have this shape."""

    def receive(self, data: bytes, now: WorldTime) -> object:
        """Hear octets; ``now``: the last of them has passed."""

    def next_deadline(self) -> WorldTime | None:
        """Return when :meth:`on_deadline` must be called."""

    def on_deadline(self, now: WorldTime) -> object:
        """Do what is due."""

    def output(self) -> list[tuple[WorldTime, bytes]]:
        """Return and forget what is to be sent, and when."""


@dataclass(slots=True)
class Faults:
    """What the line does to octets; rates in parts per million.

    Attributes:
        bit_errors: octets with a flipped bit.
        lost: transmissions nobody hears.
        swallowed: octets that vanish.
        delay_ns: from sender to hearer.
        jitter_ns: added to a transmission's start, at random.
        piece: octets handed out at once, 0: whole transmissions.
        echo: senders hear themselves.
        seed: of all chance.
    """

    bit_errors: int = 0
    lost: int = 0
    swallowed: int = 0
    delay_ns: int = 0
    jitter_ns: int = 0
    piece: int = 0
    echo: bool = False
    seed: int = 0


@dataclass(slots=True)
class Place:
    """A node's connection.

    Attributes:
        node: what is connected.
        baud: its speed.
        instant: its octets have had their line time already (they come from a real line).
        plugged: whether it hears and is heard.
    """

    node: Node
    baud: int
    instant: bool = False
    plugged: bool = True
    busy_until: WorldTime = field(default_factory=lambda: WorldTime(0))


@dataclass(slots=True, eq=False)
class _Sending:
    place: Place
    data: bytes
    start: WorldTime
    octet_ns: int

    @property
    def end(self) -> WorldTime:
        return self.start + len(self.data) * self.octet_ns


class BusSim:
    """One line.

    Args:
        baud: of the line.
        now: its beginning.
        faults: what goes wrong.
    """

    def __init__(self, baud: int, now: WorldTime, faults: Faults | None = None) -> None:
        self.baud = baud
        self.now = now
        self.faults = faults or Faults()
        self._chance = random.Random(self.faults.seed)  # noqa: S311  # faults, not secrets
        self._places: dict[int, Place] = {}
        self._queue: list[tuple[int, int, _Sending, int, int]] = []
        self._numbers = itertools.count()
        self._recent: list[_Sending] = []
        self.busy_ns = 0
        self.collisions = 0
        self.log: list[tuple[WorldTime, Node, bytes]] | None = None

    # -- who is there ----------------------------------------------------------------------

    def attach(self, node: Node, baud: int = 0, *, instant: bool = False) -> None:
        """Plug a node in; ``baud`` 0: the line's."""
        self._places[id(node)] = Place(node, baud or self.baud, instant)
        self._collect(self._places[id(node)])

    def plug(self, node: Node, *, there: bool) -> None:
        """Pull a node's plug, or put it in again."""
        self._places[id(node)].plugged = there

    # -- time ------------------------------------------------------------------------------

    def next_time(self) -> WorldTime | None:
        """Return when something happens next."""
        times = [d for p in self._places.values() if (d := p.node.next_deadline()) is not None]
        if self._queue:
            times.append(WorldTime(self._queue[0][0]))
        return max(self.now, min(times)) if times else None

    def run_until(self, until: WorldTime) -> None:
        """Let everything up to ``until`` happen."""
        while (moment := self.next_time()) is not None and moment <= until:
            self.now = moment
            self._deliver()
            for place in list(self._places.values()):
                due = place.node.next_deadline()
                if due is not None and due <= self.now:
                    place.node.on_deadline(self.now)
                    self._collect(place)
        self.now = max(self.now, until)

    def collect(self, node: Node) -> None:
        """Take what a node wants to send after it was called from outside."""
        self._collect(self._places[id(node)])

    # -- octets ----------------------------------------------------------------------------

    def _collect(self, place: Place) -> None:
        for at, data in place.node.output():
            if data and place.plugged:
                self._send(place, data, max(at, self.now))

    def _send(self, place: Place, data: bytes, at: WorldTime) -> None:
        faults, chance = self.faults, self._chance
        octet_ns = 0 if place.instant else BITS_PER_OCTET * SECOND // place.baud
        jitter = chance.randrange(faults.jitter_ns) if faults.jitter_ns else 0
        start = max(at, place.busy_until) + jitter
        sending = _Sending(place, data, start, octet_ns)
        place.busy_until = sending.end
        self.busy_ns += len(data) * octet_ns
        self._recent = [s for s in self._recent if self.now - s.end < _KEEP]
        self._recent.append(sending)
        if self.log is not None:
            self.log.append((start, place.node, data))
        if faults.lost and chance.randrange(1_000_000) < faults.lost:
            return
        size = faults.piece or len(data)
        for first in range(0, len(data), size):
            last = min(first + size, len(data))
            heard = start + (last * octet_ns + faults.delay_ns)
            entry = (heard.ns, next(self._numbers), sending, first, last)
            heapq.heappush(self._queue, entry)

    def _deliver(self) -> None:
        while self._queue and self._queue[0][0] <= self.now.ns:
            _, _, sending, first, last = heapq.heappop(self._queue)
            data = self._disturbed(sending, first, last)
            for place in list(self._places.values()):
                own = place is sending.place
                if not place.plugged or (own and not self.faults.echo):
                    continue
                if not sending.place.plugged and not own:
                    continue
                same = place.baud == sending.place.baud or sending.place.instant or place.instant
                place.node.receive(data if same else self._garbled(data), self.now)
                self._collect(place)

    def _disturbed(self, sending: _Sending, first: int, last: int) -> bytes:
        """Return octets as they are heard: after collisions, errors, losses."""
        data = sending.data[first:last]
        faults, chance = self.faults, self._chance
        others = [
            s
            for s in self._recent
            if s is not sending
            and s.place is not sending.place
            and s.start < sending.end
            and sending.start < s.end
        ]
        if others:
            data = self._collided(data, sending, first, others)
        if not (faults.bit_errors or faults.swallowed):
            return data
        heard = bytearray()
        for octet in data:
            if faults.swallowed and chance.randrange(1_000_000) < faults.swallowed:
                continue
            flip = faults.bit_errors and chance.randrange(1_000_000) < faults.bit_errors
            heard.append(octet ^ (1 << chance.randrange(8)) if flip else octet)
        return bytes(heard)

    def _collided(
        self, data: bytes, sending: _Sending, first: int, others: list[_Sending]
    ) -> bytes:
        heard = bytearray(data)
        hit = False
        for index in range(len(heard)):
            begin = sending.start + (first + index) * sending.octet_ns
            end = begin + sending.octet_ns
            if any(s.start < end and begin < s.end for s in others):
                heard[index] = self._chance.randrange(256)
                hit = True
        self.collisions += hit
        return bytes(heard)

    def _garbled(self, data: bytes) -> bytes:
        """Return what a receiver at another speed makes of octets."""
        return bytes(self._chance.randrange(256) for _ in data)
