"""Data objects of commands: flat ones, and templates 7C and 7F49 (ISO 7816-4 5.2).

Every command passes here several times, so this is a plain loop over single-octet tags and
definite lengths, not the general reader.
"""

from __future__ import annotations

from collections.abc import Iterator

from smgw_emu.core.errors import RemoteProtocolError


def split(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (tag, offset of the tag, value) of flat data objects.

    Raises:
        RemoteProtocolError: a length does not fit.
    """
    at, end = 0, len(data)
    while at < end:
        start = at + 2
        if start > end:
            raise RemoteProtocolError("data objects are damaged")
        size = data[at + 1]
        if size >= 0x80:
            wide = size & 0x7F
            if not 1 <= wide <= 3 or start + wide > end:
                raise RemoteProtocolError("data objects are damaged")
            size = int.from_bytes(data[start : start + wide], "big")
            start += wide
        if start + size > end:
            raise RemoteProtocolError("data objects are damaged")
        yield data[at], at, data[start : start + size]
        at = start + size


def data_objects(data: bytes) -> dict[int, bytes]:
    """Return the data objects of a command by tag.

    Raises:
        RemoteProtocolError: not a sequence of data objects, or one given twice.
    """
    found: dict[int, bytes] = {}
    for tag, _, value in split(data):
        if tag in found:
            raise RemoteProtocolError(f"data object {tag:02X} is given twice")
        found[tag] = value
    return found


def template(data: bytes, tag: int) -> dict[int, bytes]:
    """Return the objects inside a constructed template (7C or 7F49).

    Raises:
        RemoteProtocolError: another tag, or damaged.
    """
    prefix = data[:1] if tag > 0xFF else b""
    if prefix and tag >> 8 != prefix[0]:
        raise RemoteProtocolError("template missing")
    objects = list(split(data[len(prefix) :]))
    if len(objects) != 1 or objects[0][0] != tag & 0xFF:
        raise RemoteProtocolError("template missing")
    return data_objects(objects[0][2])
