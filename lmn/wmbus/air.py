"""The physical layer of modes S, T and C as chips: preamble, sync word, line code.

Theory of operation (``lmn-wireless.md`` 1.1). A receiver is tuned to one band: 868.3 MHz for mode
S, 868.95 MHz for T and C, which differ after the common sync word: the next 16 chips 54CD begin a
mode C frame of format A, 543D one of format B, anything else the 3-of-6 stream of mode T (54
cannot begin one). The first octet says how many follow; then the receiver hunts again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from lmn.wmbus.coding import (
    bits,
    decode_manchester,
    decode_nrz,
    decode_three_of_six,
    encode_manchester,
    encode_nrz,
    encode_three_of_six,
)
from lmn.wmbus.link import Format, air_length, decode_air, encode_air
from smgw_emu.core.errors import RemoteProtocolError

Mode = Literal["S", "T", "C"]
Band = Literal["S", "TC"]
BANDS: dict[str, Band] = {"S": "S", "T": "TC", "C": "TC"}

_SYNC_S = bits(0x07696, 18)
_SYNC_T = bits(0b0000111101, 10)
_SYNC_C = bits(0x543D, 16)
_FORMAT_A, _FORMAT_B = bits(0x54CD, 16), bits(0x543D, 16)
_PREAMBLE_S, _PREAMBLE_T, _PREAMBLE_C = b"\x00\x01" * 15, b"\x00\x01" * 19, b"\x00\x01" * 16
_POSTAMBLE_T = b"\x00\x01" * 2  # 2 to 8 chips


class Caught(msgspec.Struct, frozen=True):
    """What a receiver caught: a bare frame, or "" and why it was none."""

    mode: Mode
    form: Format
    bare: bytes
    damage: str = ""


def encode_chips(bare: bytes, mode: Mode, form: Format = "A") -> bytes:
    """Return a bare frame as chips on air."""
    data = encode_air(bare, form)
    if mode == "S":
        return _PREAMBLE_S + _SYNC_S + encode_manchester(data)
    if mode == "T":
        return _PREAMBLE_T + _SYNC_T + encode_three_of_six(data) + _POSTAMBLE_T
    return _PREAMBLE_C + _SYNC_C + (_FORMAT_A if form == "A" else _FORMAT_B) + encode_nrz(data)


_CODES: dict[Mode, tuple[int, Callable[[bytes], bytes]]] = {
    "S": (16, decode_manchester),
    "T": (12, decode_three_of_six),
    "C": (8, decode_nrz),
}


class AirReceiver:
    """Finds frames in a stream of chips.

    Args:
        band: S, or TC for modes T and C together.
    """

    def __init__(self, band: Band) -> None:
        self._band = band
        self._sync = _SYNC_S if band == "S" else _SYNC_T
        self._chips = bytearray()
        self._synced = False

    def receive(self, chips: bytes) -> list[Caught]:
        """Take chips (octets of value 0 or 1); returns what has ended."""
        self._chips += chips
        found: list[Caught] = []
        while self._hunt():
            caught = self._frame()
            if caught is None:
                break
            self._synced = False
            found.append(caught)
        return found

    def _hunt(self) -> bool:
        if self._synced:
            return True
        at = self._chips.find(self._sync)
        if at < 0:
            del self._chips[: max(0, len(self._chips) - len(self._sync) + 1)]
            return False
        del self._chips[: at + len(self._sync)]
        self._synced = True
        return True

    def _frame(self) -> Caught | None:
        """Return the frame after the sync word; None while chips are missing."""
        chips = self._chips
        mode: Mode = "S"
        form: Format = "A"
        start = 0
        if self._band == "TC":
            if len(chips) < 16:
                return None
            head = bytes(chips[:16])
            mode = "C" if head in {_FORMAT_A, _FORMAT_B} else "T"
            form = "B" if head == _FORMAT_B else "A"
            start = 16 if mode == "C" else 0
        width, decode = _CODES[mode]
        if len(chips) < start + width:
            return None
        try:
            (length,) = decode(bytes(chips[start : start + width]))
            end = start + width * air_length(length, form)
            if len(chips) < end:
                # a broken word shows before the frame is complete
                decode(bytes(chips[start:][: (len(chips) - start) // width * width]))
                return None
            data = decode(bytes(chips[start:end]))
            del chips[:end]
            return Caught(mode, form, decode_air(data, form))
        except RemoteProtocolError as error:
            return Caught(mode, form, b"", str(error))
