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
    def medium(self) -> int:
        """Group A: 1 electricity, 4 to 6 heat and cold, 7 gas, 8 and 9 water."""
        return self.octets[0]

    @property
    def can_be_registered(self) -> bool:
        """True for registers a gateway may hold (TR-03109-1 v1.0 4.3.2 no. 2): untariffed ones.

        Electricity: A = 1 and E = 0, and present values (D = 7), of which E is an index; gas:
        A = 7, B = 0, C = 3 or 6, D = 0 or 6, E = 0. Heat, cold and water (GW-04), of which the
        text says nothing: E = 0.
        """
        a, b, c, d, e, _ = self.octets
        if a == ELECTRICITY:
            return e == 0 or d == _PRESENT
        if a == GAS:
            return b == 0 and c in {3, 6} and d in {0, 6} and e == 0
        return a in OTHER_MEDIA and e == 0

    @property
    def is_counter(self) -> bool:
        """True for registers that count: electricity D = 8, other media all but D = 7 and D = 2.

        Group D of gas, heat and water: 0 is the index of a meter, 2 a flow, 7 a present value.
        """
        a, _, _, d, _, _ = self.octets
        return d == _ENERGY if a == ELECTRICITY else d not in {2, _PRESENT}

    def tariff(self, number: int) -> Obis:
        """Return the code with tariff ``number`` in group E."""
        return Obis(self.octets[:4] + bytes([number]) + self.octets[5:])


ELECTRICITY, GAS = 1, 7
OTHER_MEDIA = frozenset({4, 5, 6, 8, 9})  # heat cost, cold, heat, cold water, hot water
_ENERGY, _PRESENT = 8, 7  # group D: time integral 1; instantaneous value
ACTIVE_ENERGY_IMPORT = Obis(bytes.fromhex("0100010800ff"))
ACTIVE_ENERGY_EXPORT = Obis(bytes.fromhex("0100020800ff"))
ACTIVE_POWER = Obis(bytes.fromhex("0100100700ff"))
