"""Notifications to the administrator (WAF3): POST on a method of his event object.

The real event object is part of the licensed class catalogue; this one carries the elements of a
log entry (TR-03109-1 v1.0 T42).
"""

from __future__ import annotations

from dataclasses import dataclass

from smgw_emu.core.events import Event
from smgw_emu.core.instants import DeviceTime
from wan.cosem.data import structure, text
from wan.cosem.documents import read_request, write_request
from wan.cosem.errors import XmlError

EVENT_OBJECT = "1-0000608003ff"


@dataclass(frozen=True, slots=True)
class EventReport:
    """A notification: catalogue id, name, level, outcome, time, subject, text."""

    event: str
    name: str
    level: str
    outcome: str
    time: str
    subject: str
    message: str


def event_target(gateway: str) -> str:
    """Return the path below the administrator's point of contact."""
    return f"/cosem/ldevs/{gateway}.sm/objects/{EVENT_OBJECT}/methods/1"


def event_document(
    event: Event, now: DeviceTime, outcome: str, subject: str, message: str
) -> bytes:
    """Return the body of a notification."""
    fields = (event.id, event.name, event.level, outcome, now.iso(), subject, message)
    return write_request(structure(*(text(field) for field in fields)))


def read_event(body: bytes) -> EventReport:
    """Read a notification.

    Raises:
        XmlError: not one.
    """
    data = read_request(body)
    members = data.value if isinstance(data.value, tuple) else ()
    fields = [member.value for member in members if isinstance(member.value, str)]
    if len(fields) != 7 or len(members) != 7:
        raise XmlError("a notification has seven texts")
    return EventReport(*fields)
