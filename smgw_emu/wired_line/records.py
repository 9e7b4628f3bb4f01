"""TLS records as I frames: none longer than the information field (DS v2.0 8.4 no. 3).

libssl bounds plaintext, not records, and once ``max_fragment_length`` is agreed it fills handshake
records up to 2048 octets. Records that are still plaintext may be cut anywhere (RFC 5246 6.2.1), so
they are cut here. Encrypted ones are kept short by writing little at a time.
"""

from __future__ import annotations

_HEAD = 5
_CHANGE_CIPHER_SPEC, _HANDSHAKE = 20, 22


class RecordPacker:
    """Cuts a TLS byte stream into pieces of at most ``limit`` octets, at record borders.

    Args:
        limit: longest piece.
        packed: several complete records may share a piece.
    """

    def __init__(self, limit: int, *, packed: bool) -> None:
        self._limit = limit
        self._packed = packed
        self._encrypted = False

    def pack(self, data: bytes) -> list[bytes]:
        """Return the pieces of what a TLS connection wants to send now."""
        pieces: list[bytes] = []
        for record in self._records(data):
            fits = pieces and self._packed and len(pieces[-1]) + len(record) <= self._limit
            if fits:
                pieces[-1] += record
            else:
                pieces.append(record)
        return pieces

    def _records(self, data: bytes) -> list[bytes]:
        found = []
        position = 0
        while position < len(data):
            length = int.from_bytes(data[position + 3 : position + 5], "big")
            record = data[position : position + _HEAD + length]
            position += len(record)
            if record[0] == _HANDSHAKE and not self._encrypted:
                found += self._cut(record)
            else:
                found.append(record)
            self._encrypted |= record[0] == _CHANGE_CIPHER_SPEC
        return found

    def _cut(self, record: bytes) -> list[bytes]:
        head, body, size = record[:3], record[_HEAD:], self._limit - _HEAD
        parts = [body[start : start + size] for start in range(0, len(body), size)]
        return [head + len(part).to_bytes(2, "big") + part for part in parts]
