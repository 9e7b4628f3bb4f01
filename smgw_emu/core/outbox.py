"""What must reach administrator and market, kept until it is acknowledged.

Theory of operation (TR-03109-1 v1.0 3.2.2 WAF3 to WAF5; WAN-50, WAN-52). A message is written in
the transaction of what caused it and gets its id (x-CID) then; every attempt carries the same id.
A receiver's messages leave in the order of their numbers, the next one only after the last was
acknowledged. A message leaves the outbox in the transaction that logs the acknowledgement. So a
power cut between delivery and acknowledgement repeats a message under its old id, and nothing else
can happen: none is lost, none gets a second id.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.store import Store

Kind = Literal["delivery", "event", "result", "forward"]
ADMINISTRATOR = ""  # receiver of events and results


@dataclass(frozen=True, slots=True)
class Message:
    """A waiting message.

    Attributes:
        number: its place in the order.
        id: ``uuid:...``, the x-CID of Anlage II 7.3.1.7.
        receiver: "" for the administrator, else the name of an EMT's WAN profile.
        kind: delivery of values, event, result of an asynchronous method, forwarded grid data.
        target: path below the receiver's point of contact, or an absolute https URI.
        body: plain XML, protected when it is sent.
        about: for the log.
        created: when it was written.
        attempts: how often it was sent.
        refusal: last answer that was not good, "" if none.
    """

    number: int
    id: str
    receiver: str
    kind: str
    target: str
    body: bytes
    about: dict[str, Any]
    created: DeviceTime
    attempts: int = 0
    refusal: str = ""


class Outbox:
    """The waiting messages of one gateway.

    Args:
        store: the gateway's flash.
        random: octets for the ids (Anlage II asks for version 4, random).
    """

    def __init__(self, store: Store, random: Callable[[int], bytes]) -> None:
        self._store = store
        self._random = random

    def add(
        self,
        kind: Kind,
        target: str,
        body: bytes,
        now: DeviceTime,
        *,
        receiver: str = ADMINISTRATOR,
        about: dict[str, Any] | None = None,
        message_id: str = "",
    ) -> str:
        """Append a message, durably with the caller's transaction; returns its id."""
        name = message_id or f"uuid:{uuid.UUID(bytes=self._random(16), version=4)}"
        self._store.execute(
            "INSERT INTO outbox (uuid, receiver, kind, target, body, about, created)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (name, receiver, kind, target, body, msgspec.json.encode(about or {}).decode(),
             now.seconds),
        )  # fmt: skip
        return name

    def first(self, receiver: str) -> Message | None:
        """Return the oldest message for a receiver."""
        rows = self._store.execute(
            "SELECT number, uuid, receiver, kind, target, body, about, created, attempts, refusal"
            " FROM outbox WHERE receiver = ? ORDER BY number LIMIT 1",
            (receiver,),
        )
        return _message(rows[0]) if rows else None

    def receivers(self) -> list[str]:
        """Return who is waited for."""
        return [row[0] for row in self._store.execute("SELECT DISTINCT receiver FROM outbox")]

    def count(self, receiver: str | None = None) -> int:
        """Return the number of messages, for one receiver or all."""
        if receiver is None:
            return int(self._store.execute("SELECT count(*) FROM outbox")[0][0])
        rows = self._store.execute("SELECT count(*) FROM outbox WHERE receiver = ?", (receiver,))
        return int(rows[0][0])

    def attempted(self, message: Message, refusal: str = "") -> None:
        """Note an attempt and, if there was an answer that is not good, that answer."""
        self._store.execute(
            "UPDATE outbox SET attempts = attempts + 1, refusal = ? WHERE number = ?",
            (refusal, message.number),
        )

    def acknowledged(self, message: Message) -> None:
        """Drop a message; the caller logs it in the same transaction."""
        self._store.execute("DELETE FROM outbox WHERE number = ?", (message.number,))

    def drop(self, receiver: str) -> int:
        """Drop everything for a receiver that is configured no more; returns how many."""
        count = self.count(receiver)
        self._store.execute("DELETE FROM outbox WHERE receiver = ?", (receiver,))
        return count

    def drop_forwards(self, known: set[str]) -> None:
        """Drop grid data for market participants that are configured no more."""
        rows = self._store.execute("SELECT number, about FROM outbox WHERE kind = 'forward'")
        gone = [
            number for number, about in rows if msgspec.json.decode(about).get("emt") not in known
        ]
        for number in gone:
            self._store.execute("DELETE FROM outbox WHERE number = ?", (number,))


def _message(row: tuple[Any, ...]) -> Message:
    number, name, receiver, kind, target, body, about, created, attempts, refusal = row
    return Message(
        number,
        name,
        receiver,
        kind,
        target,
        body,
        msgspec.json.decode(about),
        DeviceTime.from_seconds(created),
        attempts,
        refusal,
    )
