"""SML type-length fields (``lmn-wired.md`` 2.2).

First octet: bit 7 another TL octet follows, bits 6-4 type (0 octet string, 4 boolean, 5 integer,
6 unsigned, 7 list), bits 3-0 length. Further TL octets add four bits of length each. The length
counts the TL octets too, except for lists, where it is the number of elements. ``01`` is an absent
optional element or an empty octet string (the wire does not tell them apart), ``00`` the end of a
message. Integers may be shortened to any width 1..8.

Decoded elements are ``bytes``, ``bool``, ``int``, ``list`` and ``None`` (absent).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from smgw_emu.core.errors import LocalProtocolError, RemoteProtocolError

Element = Any
"""``bytes | bool | int | list[Element] | None``; spelled Any because mypy cannot narrow trees."""

END_OF_MESSAGE = 0x00
ABSENT = 0x01
DEFAULT_MAX_DEPTH = 16
DEFAULT_MAX_ELEMENTS = 65_536

_OCTETS, _BOOLEAN, _INTEGER, _UNSIGNED, _LIST = 0, 4, 5, 6, 7


def read_header(data: bytes, position: int) -> tuple[int, int, int]:
    """Read one TL field; returns type, length of the value (or element count), next position.

    Raises:
        RemoteProtocolError: cut off, reserved type, or a length below the size of the field.
    """
    start = position
    try:
        octet = data[position]
        kind, length = octet >> 4 & 7, octet & 0x0F
        while octet & 0x80:
            position += 1
            octet = data[position]
            if octet & 0x70:
                raise RemoteProtocolError(f"reserved bits in TL field at octet {position}")
            length = length << 4 | octet & 0x0F
            if length > len(data):
                raise RemoteProtocolError(f"length beyond the message at octet {start}")
    except IndexError:
        raise RemoteProtocolError(f"message ends inside a TL field at octet {start}") from None
    position += 1
    if kind == _LIST:
        return kind, length, position
    length -= position - start
    if kind not in {_OCTETS, _BOOLEAN, _INTEGER, _UNSIGNED} or length < 0:
        raise RemoteProtocolError(f"bad TL field {data[start]:02x} at octet {start}")
    return kind, length, position


class Reader:
    """Decodes elements of one payload, with a common budget that bounds time and memory.

    Args:
        data: the payload.
        max_depth: deepest nesting of lists.
        max_elements: most elements in all.
    """

    __slots__ = ("_budget", "_max_depth", "data")

    def __init__(
        self,
        data: bytes,
        max_depth: int = DEFAULT_MAX_DEPTH,
        max_elements: int = DEFAULT_MAX_ELEMENTS,
    ) -> None:
        self.data = data
        self._max_depth = max_depth
        self._budget = max_elements

    def elements(  # noqa: C901, PLR0912  # the hot loop: one branch per type, no calls
        self, position: int, count: int, depth: int = 0
    ) -> tuple[list[Element], int]:
        """Read ``count`` elements from ``position``; returns them and the next position.

        Raises:
            RemoteProtocolError: anything the format does not allow.
        """
        self._budget -= count
        if self._budget < 0 or depth > self._max_depth:
            raise RemoteProtocolError(f"too many or too deep elements at octet {position}")
        data = self.data
        size = len(data)
        result: list[Element] = []
        append = result.append
        for _ in range(count):
            if position >= size:
                raise RemoteProtocolError(f"message ends at octet {position}")
            octet = data[position]
            if octet == ABSENT:
                position += 1
                append(None)
                continue
            if ABSENT < octet < 0x10:  # short octet string
                end = position + octet
                if end > size:
                    raise RemoteProtocolError(f"bad element at octet {position}")
                append(data[position + 1 : end])
                position = end
                continue
            if octet & 0x80 or octet < 2:
                kind, length, position = read_header(data, position)
            else:  # the common case: one TL octet
                kind, length = octet >> 4, octet & 0x0F
                position += 1
                if kind != _LIST:
                    length -= 1
            if kind == _LIST:
                value, position = self.elements(position, length, depth + 1)
                append(value)
                continue
            end = position + length
            if length < 0 or end > size:
                raise RemoteProtocolError(f"bad element at octet {position - 1}")
            if kind == _OCTETS:
                append(data[position:end])
            elif length == 0 or length > 8:
                raise RemoteProtocolError(f"number of {length} octets at octet {position - 1}")
            elif kind == _UNSIGNED:
                append(int.from_bytes(data[position:end], "big"))
            elif kind == _INTEGER:
                append(int.from_bytes(data[position:end], "big", signed=True))
            elif kind == _BOOLEAN and length == 1:
                append(data[position] != 0)
            else:
                raise RemoteProtocolError(f"bad TL field {octet:02x} at octet {position - 1}")
            position = end
        return result, position


@lru_cache(maxsize=512)
def _header(kind: int, length: int, *, counts_itself: bool) -> bytes:
    """Build a TL field for ``length`` value octets (or list elements)."""
    size = 1
    while length + (size if counts_itself else 0) >= 16**size:
        size += 1
    total = length + (size if counts_itself else 0)
    octets = [total >> 4 * shift & 0x0F | 0x80 for shift in range(size - 1, -1, -1)]
    octets[-1] &= 0x7F
    octets[0] |= kind << 4
    return bytes(octets)


_SHORT = tuple(bytes((length + 1,)) for length in range(15))


def octet_string(value: bytes) -> bytes:
    """Encode an octet string."""
    if len(value) < 15:
        return _SHORT[len(value)] + value
    return _header(_OCTETS, len(value), counts_itself=True) + value


def boolean(value: bool) -> bytes:  # noqa: FBT001  # the value is the content
    """Encode a boolean."""
    return b"\x42\x01" if value else b"\x42\x00"


def unsigned(value: int, octets: int) -> bytes:
    """Encode an unsigned number in a fixed width.

    Raises:
        LocalProtocolError: it does not fit.
    """
    try:
        return bytes((0x60 | octets + 1,)) + value.to_bytes(octets, "big")
    except OverflowError as error:
        raise LocalProtocolError(f"{value} does not fit Unsigned{8 * octets}") from error


def integer(value: int, octets: int) -> bytes:
    """Encode a signed number in a fixed width.

    Raises:
        LocalProtocolError: it does not fit.
    """
    try:
        return bytes((0x50 | octets + 1,)) + value.to_bytes(octets, "big", signed=True)
    except OverflowError as error:
        raise LocalProtocolError(f"{value} does not fit Integer{8 * octets}") from error


def number(value: int) -> bytes:
    """Encode a value in the narrowest of the standard widths; above 2**63 as Unsigned64."""
    for octets in (1, 2, 4, 8):
        if -(1 << 8 * octets - 1) <= value < 1 << 8 * octets - 1:
            return integer(value, octets)
    return unsigned(value, 8)


def sequence(elements: list[bytes]) -> bytes:
    """Encode a list of encoded elements."""
    return _header(_LIST, len(elements), counts_itself=False) + b"".join(elements)
