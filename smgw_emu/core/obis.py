"""OBIS codes (IEC 62056-61): six value groups A-B:C.D.E*F, six octets on the wire."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from smgw_emu.core.errors import RemoteProtocolError

_TEXT = re.compile(r"(\d{1,3})-(\d{1,3}):(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:\*(\d{1,3}))?", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]{12}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Obis:
    """An OBIS code; ``octets`` holds the groups A to F."""

    octets: bytes

    def __post_init__(self) -> None:
        if len(self.octets) != 6:
            raise RemoteProtocolError(f"an OBIS code has 6 octets, not {len(self.octets)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``0100010800ff`` or ``1-0:1.8.0*255`` (F defaults to 255).

        Raises:
            RemoteProtocolError: neither form.
        """
        if _HEX.fullmatch(text):
            return cls(bytes.fromhex(text))
        match = _TEXT.fullmatch(text)
        if match:
            groups = [int(group) if group is not None else 255 for group in match.groups()]
            if all(group <= 255 for group in groups):
                return cls(bytes(groups))
        raise RemoteProtocolError(f"not an OBIS code: {text[:40]!r}")

    @property
    def hex(self) -> str:
        """Twelve lower-case hex digits, the form of the HAN interface."""
        return self.octets.hex()

    def __str__(self) -> str:
        a, b, c, d, e, f = self.octets
        return f"{a}-{b}:{c}.{d}.{e}*{f}"

    @property
    def untariffed_energy(self) -> bool:
        """True for registers a gateway may register (TR-03109-1 v1.0 4.3.2 no. 2).

        Electricity: A = 1 and E = 0; gas: A = 7, B = 0, C = 3 or 6, D = 0 or 6, E = 0.
        """
        a, b, c, d, e, _ = self.octets
        if a == 1:
            return e == 0
        return a == 7 and b == 0 and c in {3, 6} and d in {0, 6} and e == 0


ACTIVE_ENERGY_IMPORT = Obis(bytes.fromhex("0100010800ff"))
ACTIVE_ENERGY_EXPORT = Obis(bytes.fromhex("0100020800ff"))
ACTIVE_POWER = Obis(bytes.fromhex("0100100700ff"))
