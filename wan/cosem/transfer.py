"""Block transfer: Range of a GET, Content-Range of a PUT (Anlage II 7.3.1.8, 7.6).

A transfer may go on after the connection broke, so what is half-way lives outside the connection:
the sealed body of a GET until its last octet was fetched, the octets of a PUT until it is complete.
Both are bounded; a new transfer takes the place of the oldest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wan.cosem.errors import CosemError

MAX_TRANSFERS = 4  # own choice, like the octets: two channels, both directions
MAX_OCTETS = 8 << 20
_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})-(\d{0,18})", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a body: first and last octet, whole length."""

    first: int
    last: int
    total: int

    @property
    def content_range(self) -> str:
        """The header's value."""
        return f"bytes {self.first}-{self.last}/{self.total}"


def parse_range(header: str, total: int) -> Block:
    """Read a Range header for a body of ``total`` octets.

    Raises:
        CosemError: 416, it does not fit.
    """
    match = _RANGE.fullmatch(header.strip())
    first, last = (match[1], match[2]) if match else ("", "")
    if not first and last:  # the last so many octets
        begin, end = max(0, total - int(last)), total - 1
    elif first:
        begin, end = int(first), min(int(last), total - 1) if last else total - 1
    else:
        begin, end = 0, -1
    if not 0 <= begin <= end:
        raise CosemError(416, f"range does not fit {total} octets", "range")
    return Block(begin, end, total)


def parse_content_range(header: str, octets: int) -> Block:
    """Read the Content-Range of a block with ``octets`` octets.

    Raises:
        CosemError: 416, not a range, or not of that length.
    """
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None:
        raise CosemError(416, "not bytes first-last/total", "content-range")
    block = Block(int(match[1]), int(match[2]), int(match[3]))
    if block.last - block.first + 1 != octets or block.last >= block.total:
        raise CosemError(416, "range and body differ", "content-range")
    return block


class Transfers:
    """Bodies on their way."""

    def __init__(self) -> None:
        self._parts: dict[str, bytearray] = {}
        self._bodies: dict[str, bytes] = {}

    def offer(self, target: str) -> bytes | None:
        """Return the body a broken GET had begun with."""
        return self._bodies.get(target)

    def keep(self, target: str, body: bytes) -> None:
        """Remember the body of a GET with a Range."""
        self._bodies.pop(target, None)
        while len(self._bodies) >= MAX_TRANSFERS:
            del self._bodies[next(iter(self._bodies))]
        if len(body) <= MAX_OCTETS:
            self._bodies[target] = body

    def served(self, target: str, block: Block) -> None:
        """Forget a body when its last octet went out."""
        if block.last == block.total - 1:
            self._bodies.pop(target, None)

    def take(self, target: str, block: Block, octets: bytes) -> bytes | None:
        """Add a block of a PUT; returns the whole body when it is complete.

        Raises:
            CosemError: 413 too big, 416 a gap.
        """
        if block.total > MAX_OCTETS:
            raise CosemError(413, f"more than {MAX_OCTETS} octets")
        if block.first == 0:
            self._parts.pop(target, None)
            while len(self._parts) >= MAX_TRANSFERS:
                del self._parts[next(iter(self._parts))]
            self._parts[target] = bytearray()
        part = self._parts.get(target)
        have = 0 if part is None else len(part)
        if part is None or block.first > have:
            raise CosemError(416, f"{have} octets are here", "content-range")
        del part[block.first :]  # a repeated block replaces itself
        part += octets
        if len(part) < block.total:
            return None
        del self._parts[target]
        return bytes(part)
