"""ASN.1 as the WAN and the certificates need it: a DER writer and a bounded DER/BER reader.

Everything we send is DER (X.690 chapter 10). What we receive may be BER: command line tools stream
with indefinite lengths (``crypto.md`` 3.3). The reader keeps single-octet tags only, bounds depth
and element count, and raises nothing but :class:`DerError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from smgw_emu.core.errors import RemoteProtocolError

INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x02, 0x03, 0x04, 0x05, 0x06
UTF8_STRING, PRINTABLE_STRING, IA5_STRING = 0x0C, 0x13, 0x16
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31
CONSTRUCTED = 0x20

MAX_DEPTH = 24
MAX_ELEMENTS = 20_000


class DerError(RemoteProtocolError):
    """The octets are not the ASN.1 structure expected here."""


# -- writing ---------------------------------------------------------------------------------


def tlv(tag: int, *parts: bytes) -> bytes:
    """Return identifier octet, definite length and the joined contents."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE of encoded parts."""
    return tlv(SEQUENCE, *parts)


def set_of(*parts: bytes) -> bytes:
    """Return a SET OF, sorted as DER asks (X.690 11.6)."""
    return tlv(SET, *sorted(parts))


def explicit(number: int, *parts: bytes) -> bytes:
    """Return ``[number] EXPLICIT``, or an IMPLICIT constructed one around the given contents."""
    return tlv(0xA0 | number, *parts)


def implicit(number: int, content: bytes) -> bytes:
    """Return a primitive ``[number] IMPLICIT``."""
    return tlv(0x80 | number, content)


def integer(value: int) -> bytes:
    """Return an INTEGER."""
    size = value.bit_length() // 8 + 1 if value >= 0 else (value + 1).bit_length() // 8 + 1
    return tlv(INTEGER, value.to_bytes(size, "big", signed=True))


def octet_string(content: bytes) -> bytes:
    """Return an OCTET STRING."""
    return tlv(OCTET_STRING, content)


def bit_string(content: bytes, unused: int = 0) -> bytes:
    """Return a BIT STRING."""
    return tlv(BIT_STRING, bytes((unused,)), content)


def oid_content(dotted: str) -> bytes:
    """Return the content octets of an OBJECT IDENTIFIER (the form wake-up packets carry)."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    out = bytearray()
    for arc in (first * 40 + second, *rest):
        chunk = [arc & 0x7F]
        while arc := arc >> 7:
            chunk.append(0x80 | (arc & 0x7F))
        out += bytes(reversed(chunk))
    return bytes(out)


@lru_cache(maxsize=256)
def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    return tlv(OID, oid_content(dotted))


def algorithm(dotted: str, *parameters: bytes) -> bytes:
    """Return an AlgorithmIdentifier; no parameter means none, not NULL."""
    return sequence(oid(dotted), *parameters)


def text(value: str, tag: int = UTF8_STRING) -> bytes:
    """Return a character string."""
    return tlv(tag, value.encode("utf-8"))


def time(moment: datetime) -> bytes:
    """Return a Time: UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 4.1.2.5)."""
    moment = moment.astimezone(UTC)
    if moment.year < 2050:
        return tlv(UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").encode())


NULL_VALUE = tlv(NULL)


# -- reading ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Element:
    """One TLV.

    Attributes:
        tag: identifier octet, with class and constructed bit.
        content: content octets; of a constructed element the encodings of its children.
        raw: the whole encoding as received.
        children: of a constructed element.
    """

    tag: int
    content: bytes
    raw: bytes
    children: tuple[Element, ...] = ()

    def octets(self) -> bytes:
        """Return the value of an OCTET STRING, joined if it came in pieces (BER)."""
        if not self.tag & CONSTRUCTED:
            return self.content
        if any(child.tag & ~CONSTRUCTED != OCTET_STRING for child in self.children):
            raise DerError("an octet string in pieces holds something else")
        return b"".join(child.octets() for child in self.children)

    def integer(self) -> int:
        """Return the value of an INTEGER."""
        if not self.content:
            raise DerError("empty INTEGER")
        return int.from_bytes(self.content, "big", signed=True)

    def bits(self) -> bytes:
        """Return the octets of a BIT STRING without unused bits."""
        if not self.content or self.content[0]:
            raise DerError("BIT STRING is not whole octets")
        return self.content[1:]

    def oid(self) -> str:
        """Return the dotted form of an OBJECT IDENTIFIER."""
        return oid_text(self.content)


def oid_text(content: bytes) -> str:
    """Return the dotted form of the content octets of an OBJECT IDENTIFIER.

    Raises:
        DerError: truncated, or longer than 64 octets.
    """
    if not content or content[-1] & 0x80 or len(content) > 64:
        raise DerError("malformed object identifier")
    arcs, value = [], 0
    for octet in content:
        if octet == 0x80 and not value:
            raise DerError("malformed object identifier")
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))


class Reader:
    """Takes the fields of a constructed element in order.

    Args:
        element: what to read.
        name: what it is, for error texts.
        tag: what it must be.
    """

    __slots__ = ("_children", "_index", "name")

    def __init__(self, element: Element, name: str, tag: int = SEQUENCE) -> None:
        if element.tag != tag:
            raise DerError(f"{name} has tag {element.tag:02x} instead of {tag:02x}")
        self._children = element.children
        self._index = 0
        self.name = name

    def peek(self) -> int | None:
        """Return the tag of the next field, None at the end."""
        return None if self._index >= len(self._children) else self._children[self._index].tag

    def take(self, tag: int, what: str) -> Element:
        """Return the next field, which must have ``tag``.

        Raises:
            DerError: another field, or none.
        """
        found = self.peek()
        if found != tag and not (tag == OCTET_STRING and found == OCTET_STRING | CONSTRUCTED):
            shown = "nothing" if found is None else f"tag {found:02x}"
            raise DerError(f"{self.name}: {what} expected (tag {tag:02x}), {shown} found")
        return self.next()

    def optional(self, tag: int) -> Element | None:
        """Return the next field if it has ``tag``."""
        return self.next() if self.peek() == tag else None

    def next(self) -> Element:
        """Return the next field, whatever it is.

        Raises:
            DerError: there is none.
        """
        if self._index >= len(self._children):
            raise DerError(f"{self.name} ends too early")
        self._index += 1
        return self._children[self._index - 1]

    def sequence(self, what: str, tag: int = SEQUENCE) -> Reader:
        """Take a constructed field and return a reader over it."""
        return Reader(self.take(tag, what), what, tag)

    def oid(self, what: str) -> str:
        """Take an OBJECT IDENTIFIER."""
        return self.take(OID, what).oid()

    def integer(self, what: str) -> int:
        """Take an INTEGER."""
        return self.take(INTEGER, what).integer()

    def end(self) -> None:
        """Check that nothing is left.

        Raises:
            DerError: something is.
        """
        if self._index < len(self._children):
            tag = self._children[self._index].tag
            raise DerError(f"{self.name}: field with tag {tag:02x} not expected")

    def rest(self) -> tuple[Element, ...]:
        """Return all fields not yet taken."""
        left = self._children[self._index :]
        self._index = len(self._children)
        return left


class _Parser:
    __slots__ = ("_ber", "_count", "_data")

    def __init__(self, data: bytes, *, ber: bool) -> None:
        self._data = data
        self._ber = ber
        self._count = 0

    def element(self, at: int, end: int, depth: int) -> tuple[Element, int]:
        """Return the element that begins at ``at`` and where it ends."""
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_ELEMENTS:
            raise DerError("nested too deeply, or too many elements")
        data = self._data
        if at + 2 > end:
            raise DerError("truncated")
        tag = data[at]
        if tag & 0x1F == 0x1F:
            raise DerError("tag numbers above 30 are not used here")
        if data[at + 1] == 0x80:
            return self._indefinite(tag, at, at + 2, end, depth)
        start, size = self._length(at + 1, end)
        stop = start + size
        if stop > end:
            raise DerError("truncated")
        children: list[Element] = []
        if tag & CONSTRUCTED:
            position = start
            while position < stop:
                child, position = self.element(position, stop, depth + 1)
                children.append(child)
        return Element(tag, data[start:stop], data[at:stop], tuple(children)), stop

    def _length(self, at: int, end: int) -> tuple[int, int]:
        """Return where the content begins and how long it is."""
        data = self._data
        size, start = data[at], at + 1
        if size <= 0x80:
            return start, size
        count = size & 0x7F
        if count > 4 or start + count > end:
            raise DerError("length out of bounds")
        size = int.from_bytes(data[start : start + count], "big")
        minimal = size >= 0x80 and size >= 1 << (8 * (count - 1))
        if not minimal and not self._ber:
            raise DerError("length is not in its shortest form")
        return start + count, size

    def _indefinite(
        self, tag: int, at: int, start: int, end: int, depth: int
    ) -> tuple[Element, int]:
        if not self._ber or not tag & CONSTRUCTED:
            raise DerError("indefinite length")
        data, position, children = self._data, start, []
        while data[position : position + 2] != b"\x00\x00":
            child, position = self.element(position, end, depth + 1)
            children.append(child)
        stop = position + 2
        if stop > end:
            raise DerError("truncated")
        return Element(tag, data[start:position], data[at:stop], tuple(children)), stop


def parse(data: bytes, *, ber: bool = False) -> Element:
    """Read exactly one element.

    Args:
        data: the octets.
        ber: also accept indefinite and long lengths, and strings in pieces.

    Raises:
        DerError: anything else than one well-formed element.
    """
    element, stop = _Parser(data, ber=ber).element(0, len(data), 0)
    if stop != len(data):
        raise DerError(f"{len(data) - stop} octets after the end")
    return element


def parse_prefix(data: bytes) -> tuple[Element, int]:
    """Read the element at the front; returns it and its length.

    Raises:
        DerError: there is none.
    """
    return _Parser(data, ber=False).element(0, len(data), 0)
