"""A meter on the bus: how it gets its address and keeps it (``lmn-wired.md`` 1.3).

Theory of operation. Without an address in the allocation list the meter draws one, and a slot,
waits for the slot and answers; it may be spoken to under that address at once. Listed under its
address it is silent in an allocation and answers a check in the slot the list gives it. A check
that does not list it takes its address away. When another participant is listed under its address
it draws anew.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from lmn.bus.records import Record, decode_records, encode_records
from lmn.hdlc.frame import Frame, Kind, control
from lmn.hdlc.primary import Arrived, Closed, Opened
from lmn.hdlc.secondary import SecondaryLink
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import MILLISECOND, WorldTime
from smgw_emu.profiles import LmnBus


@dataclass(frozen=True, slots=True)
class Reply:
    """A frame to be sent at a moment."""

    frame: Frame
    at: WorldTime


class Participant:
    """One meter's place on the bus.

    Args:
        participant, sensor: ids, at most 14 octets.
        rules: the table of the line.
        link: its connection.
        chance: draws addresses and slots.
        fixed_address: a fault: always this address.
    """

    def __init__(
        self,
        participant: bytes,
        sensor: bytes,
        rules: LmnBus,
        link: SecondaryLink,
        chance: random.Random,
        fixed_address: int = 0,
    ) -> None:
        self.participant = participant
        self.sensor = sensor
        self.link = link
        self.address = 0
        self.listed = False
        self._rules = rules
        self._chance = chance
        self._fixed = fixed_address
        self._reply: Reply | None = None

    def receive(
        self, frame: Frame, at: WorldTime, now: WorldTime
    ) -> list[Opened | Arrived | Closed]:
        """Take a frame of the line; :meth:`reply` says then what to send."""
        self._reply = None
        rules = self._rules
        if frame.source != rules.gateway_address:
            return []
        if frame.destination == rules.broadcast_address:
            return self._broadcast(frame, now)
        if not self.address or frame.destination != self.address:
            return []
        return self.link.receive(frame, at)

    def reply(self, frame: Frame, now: WorldTime) -> Reply | None:
        """Return what to send in answer to the frame just taken."""
        if frame.destination == self._rules.broadcast_address:
            return self._reply
        if not self.address or frame.destination != self.address:
            return None
        answer = self.link.answer(frame)
        return None if answer is None else Reply(answer, now)

    def power_off(self) -> None:
        """Forget everything that is volatile."""
        self.address = 0
        self.listed = False
        self.link.reset()

    def _broadcast(self, frame: Frame, now: WorldTime) -> list[Opened | Arrived | Closed]:
        rules = self._rules
        if frame.kind is not Kind.UI:
            return []
        try:
            records = decode_records(frame.information)
        except RemoteProtocolError:
            return []
        mine = next((one for one in records if one.participant == self.participant), None)
        self.listed = mine is not None and mine.address == self.address
        if frame.destination_sap == rules.sap_check:
            if self.listed and mine is not None:
                self._answer(frame.destination_sap, mine.slot, mine.slot - 1, now)
                return []
            return self._lose_address()
        if frame.destination_sap != rules.sap_allocation or self.listed:
            return []
        events = self._lose_address()
        taken = {one.address for one in records}
        free = [a for a in range(rules.first_address, rules.last_address + 1) if a not in taken]
        if not free:
            return events
        self.address = self._fixed or self._chance.choice(free)
        slot = self._chance.randint(1, rules.slots)
        self._answer(frame.destination_sap, slot, slot - 1, now)
        return events

    def _lose_address(self) -> list[Opened | Arrived | Closed]:
        had = self.address and self.link.state == "open"
        self.address = 0
        self.link.reset()
        return [Closed("no address")] if had else []

    def _answer(self, sap: int, slot: int, before: int, now: WorldTime) -> None:
        rules = self._rules
        record = Record(self.address, slot, self.participant, self.sensor)
        frame = Frame(
            rules.gateway_address,
            sap,
            self.address,
            sap,
            control(Kind.UI),
            encode_records([record]),
        )
        self._reply = Reply(frame, now + max(before, 0) * rules.slot_ms * MILLISECOND)
