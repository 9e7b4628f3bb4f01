"""Data objects of commands: flat ones, and templates 7C and 7F49."""

from __future__ import annotations

from smgw_emu.core.der import parse, sequence
from smgw_emu.core.errors import RemoteProtocolError


def data_objects(data: bytes) -> dict[int, bytes]:
    """Return the data objects of a command by tag.

    Raises:
        RemoteProtocolError: not a sequence of data objects.
    """
    return {child.tag: child.content for child in parse(sequence(data)).children}


def template(data: bytes, tag: int) -> dict[int, bytes]:
    """Return the objects inside a constructed template (7C or 7F49).

    Raises:
        RemoteProtocolError: another tag, or damaged.
    """
    head = tag.to_bytes(2, "big") if tag > 0xFF else bytes((tag,))
    if data[: len(head)] != head:
        raise RemoteProtocolError("template missing")
    element = parse(b"\x30" + data[len(head) :])
    return {child.tag: child.content for child in element.children}
