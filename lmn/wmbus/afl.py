"""Authentication and fragmentation layer, CI 90 (EN 13757-7; ``lmn-wireless.md`` 1.7).

``90 AFLL FCL(2) {MCL 1} {KI 2} {MCR 4} {MAC} {ML 2}``, LSB first but the MAC. FCL: bit 14 more
fragments, 13 MCL present, 12 ML, 11 MCR, 10 MAC, 9 KI, 7-0 fragment id (0: not fragmented, the
first is 1). MCL: 6 ML, 5 MCR, 4 KI are part of the message, 3-0 kind of MAC.
"""

from __future__ import annotations

import msgspec

from smgw_emu.core.errors import RemoteProtocolError

CI_AFL = 0x90
_MORE, _MCL, _ML, _MCR, _MAC, _KI = 0x4000, 0x2000, 0x1000, 0x0800, 0x0400, 0x0200
_RESERVED = 0x8100
MAC_LENGTHS = {3: 2, 4: 4, 5: 8, 6: 12, 7: 16}  # CMAC; 8 and 9 are GMAC
MAX_MESSAGE = 16_384  # ML: at most 16 kB


class Afl(msgspec.Struct, frozen=True):
    """An authentication and fragmentation layer; absent fields are None or b""."""

    fragment: int = 0
    more: bool = False
    mcl: int | None = None
    ki: bytes = b""
    mcr: bytes = b""
    mac: bytes = b""
    ml: bytes = b""

    @property
    def counter(self) -> int:
        """The message counter."""
        return int.from_bytes(self.mcr, "little")

    def encode(self) -> bytes:
        """Return the layer with its CI."""
        fcl = self.fragment | (_MORE if self.more else 0)
        fcl |= _MCL if self.mcl is not None else 0
        for field, bit in ((self.ml, _ML), (self.mcr, _MCR), (self.mac, _MAC), (self.ki, _KI)):
            fcl |= bit if field else 0
        mcl = b"" if self.mcl is None else bytes((self.mcl,))
        body = fcl.to_bytes(2, "little") + mcl + self.ki + self.mcr + self.mac + self.ml
        return bytes((CI_AFL, len(body))) + body

    def protected(self, message: bytes) -> bytes:
        """Return what the MAC is over: MCL, KI, MCR, ML and the whole message after the AFL.

        "Whole" takes in plain octets after the encrypted blocks: nobody may add values there.
        """
        mcl = b"" if self.mcl is None else bytes((self.mcl,))
        return mcl + self.ki + self.mcr + self.ml + message


def mac_length(mcl: int) -> int:
    """Return the octets of the MAC that MCL names, 0 for none.

    Raises:
        RemoteProtocolError: a kind we do not know.
    """
    kind = mcl & 0x0F
    if kind == 0:
        return 0
    if kind not in MAC_LENGTHS:
        raise RemoteProtocolError(f"MAC of kind {kind} is not supported")
    return MAC_LENGTHS[kind]


def parse_afl(data: bytes) -> tuple[Afl | None, bytes]:
    """Return the layer, None without one, and what follows it.

    The octets of the MAC are what the other fields leave of AFLL: a middle fragment has no MCL.

    Raises:
        RemoteProtocolError: lengths or flags do not fit.
    """
    if not data or data[0] != CI_AFL:
        return None, data
    if len(data) < 4 or len(data) < 2 + data[1] or data[1] < 2:
        raise RemoteProtocolError("the frame ends within the AFL")
    body, rest = data[2 : 2 + data[1]], data[2 + data[1] :]
    fcl = int.from_bytes(body[:2], "little")
    if fcl & _RESERVED or (fcl & _MORE and not fcl & 0xFF):  # no MAC covers FCL
        raise RemoteProtocolError(f"impossible flags {fcl:04X} of the AFL")
    at = 2
    mcl: int | None = None
    if fcl & _MCL:
        mcl = body[at] if at < len(body) else None
        at += 1
    ki = body[at : at + 2] if fcl & _KI else b""
    at += len(ki)
    mcr = body[at : at + 4] if fcl & _MCR else b""
    at += len(mcr)
    tail = 2 if fcl & _ML else 0
    mac = body[at : len(body) - tail] if fcl & _MAC else b""
    at += len(mac)
    ml = body[at : at + tail]
    at += len(ml)
    whole = len(ki) in {0, 2} and len(mcr) in {0, 4} and len(ml) == tail
    if at != len(body) or not whole or bool(fcl & _MAC) != bool(mac):
        raise RemoteProtocolError("the fields of the AFL do not fit its length")
    if mac and len(mac) not in MAC_LENGTHS.values():
        raise RemoteProtocolError(f"a MAC of {len(mac)} octets")
    if mcl is not None and mac and len(mac) != mac_length(mcl):
        raise RemoteProtocolError("the MAC is not of the length that MCL names")
    return Afl(fcl & 0xFF, bool(fcl & _MORE), mcl, ki, mcr, mac, ml), rest


class Assembly:
    """The fragments of one sender's message.

    The first one (FID 1) has MCL, the last one the MAC; each adds its payload. Anything out of
    order ends the message.
    """

    def __init__(self) -> None:
        self._first: Afl | None = None
        self._last = 0
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def waiting(self) -> bool:
        """Whether a message has begun."""
        return self._first is not None

    def add(self, afl: Afl, payload: bytes) -> tuple[Afl, bytes] | None:
        """Take a fragment; returns the whole message (AFL with all fields) after the last one.

        Raises:
            RemoteProtocolError: it does not continue what has begun, or the message is too long.
        """
        if afl.fragment == 1 and not afl.more:
            self.drop()
            raise RemoteProtocolError("a message of one fragment")  # FCL is under no MAC
        if afl.fragment == 1:
            self._first, self._last, self._parts, self._size = afl, 1, [], 0
        elif self._first is None or afl.fragment != self._last + 1:
            self.drop()
            raise RemoteProtocolError(f"fragment {afl.fragment} of no message")
        self._last = afl.fragment
        self._parts.append(payload)
        self._size += len(payload)
        if self._size > MAX_MESSAGE:
            self.drop()
            raise RemoteProtocolError("a fragmented message is longer than 16 kB")
        if afl.more:
            return None
        first, message = self._first, b"".join(self._parts)
        self.drop()
        whole = Afl(
            mcl=first.mcl,
            ki=first.ki or afl.ki,
            mcr=first.mcr or afl.mcr,
            mac=afl.mac,
            ml=first.ml or afl.ml,
        )
        if whole.ml and int.from_bytes(whole.ml, "little") != len(message):
            raise RemoteProtocolError("a fragmented message is not as long as it says")
        return whole, message

    def drop(self) -> None:
        """Forget what has begun."""
        self._first, self._last, self._parts, self._size = None, 0, [], 0
