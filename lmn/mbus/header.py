"""The header of a data record: DIF, DIFEs, VIF, VIFEs (EN 13757-3 clause 6; ``lmn-wireless.md`` 3).

DIF: bit 7 more follows, 6 lowest bit of the storage number, 5-4 function, 3-0 coding of the data.
DIFE: 7 more follows, 6 subunit, 5-4 tariff, 3-0 storage number. VIF and VIFE: 7 more follows.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

import msgspec

from lmn.mbus import vif
from lmn.mbus.vif import Quantity
from smgw_emu.core.errors import RemoteProtocolError

MAX_EXTENSIONS = 10  # EN 13757-3 6.3.4: at most ten DIFEs, ten VIFEs
EXTENDED = 0x80
PLAIN_TEXT = 0x7C
VARIABLE = 0xD  # coding LVAR
_MANUFACTURER_VIF, _ANY_VIF = 0x7F, 0x7E


class Function(IntEnum):
    """Function field: which of several values of one quantity."""

    INSTANTANEOUS = 0
    MAXIMUM = 1
    MINIMUM = 2
    ERROR = 3


class Header(msgspec.Struct, frozen=True):
    """A record's header.

    Attributes:
        octets: as sent.
        coding: low four bits of the DIF.
        function, storage, tariff, subunit: which value it is.
        quantity: of the VIF, with the exponent the VIFEs lead to.
        modifiers: names of the combinable VIFEs, in their order.
        profile: "", "compact", "inverse" or "registers" (Annex F).
        error: a record error told by a VIFE, "" for none.
    """

    octets: bytes
    coding: int
    function: Function
    storage: int
    tariff: int
    subunit: int
    quantity: Quantity
    modifiers: tuple[str, ...] = ()
    profile: str = ""
    error: str = ""

    @property
    def place(self) -> tuple[int, int, int]:
        """Storage, tariff and subunit."""
        return self.storage, self.tariff, self.subunit


def header_end(data: bytes, at: int) -> int:
    """Return where the header that begins at ``at`` ends.

    Raises:
        RemoteProtocolError: too many extensions.
        IndexError: the data ends before it.
    """
    start = at
    while data[at] & EXTENDED:
        at += 1
        if at - start > MAX_EXTENSIONS:
            raise RemoteProtocolError("more than ten DIFEs")
    at += 1
    extended = data[at] & EXTENDED
    if data[at] & 0x7F == PLAIN_TEXT:
        at += 1 + data[at + 1]
    at += 1
    start = at
    while extended:
        extended = data[at] & EXTENDED
        at += 1
        if at - start > MAX_EXTENSIONS:
            raise RemoteProtocolError("more than ten VIFEs")
    return at


@lru_cache(maxsize=4096)
def parse_header(octets: bytes) -> Header:
    """Read a header that :func:`header_end` has cut out."""
    coding = octets[0] & 0x0F
    storage, tariff, subunit = (octets[0] >> 6) & 1, 0, 0
    at, level = 0, 0
    while octets[at] & EXTENDED:
        at += 1
        extension = octets[at]
        storage |= (extension & 0x0F) << (1 + 4 * level)
        tariff |= ((extension >> 4) & 3) << (2 * level)
        subunit |= ((extension >> 6) & 1) << level
        level += 1
    function = Function((octets[0] >> 4) & 3)
    quantity, extensions = _quantity(octets[at + 1 :])
    return _qualified(
        Header(octets, coding, function, storage, tariff, subunit, quantity), extensions
    )


def _quantity(vib: bytes) -> tuple[Quantity, bytes]:
    """Return what the VIF says and the VIFEs that qualify it."""
    code, more = vib[0] & 0x7F, vib[0] & EXTENDED
    if code == PLAIN_TEXT:
        end = 2 + vib[1]
        text = vib[2:end][::-1].decode("latin-1")  # sent last character first
        return Quantity("plain text unit", text), vib[end:]
    if code == _MANUFACTURER_VIF:
        return Quantity("manufacturer specific", kind="bits"), b""  # its VIFEs are too
    if code == _ANY_VIF:
        return Quantity("any"), vib[1:]
    if more and vib[0] in {0xFD, 0xFB} and len(vib) > 1:
        table = vif.FIRST_EXTENSION if vib[0] == 0xFD else vif.SECOND_EXTENSION
        name = "reserved " + vib[:2].hex().upper()
        return table.get(vib[1] & 0x7F, Quantity(name, kind="bits")), vib[2:]
    reserved = Quantity(f"reserved {vib[0]:02X}", kind="bits")
    return vif.PRIMARY.get(code, reserved), vib[1:]


_PROFILES = {
    vif.INVERSE_PROFILE: "inverse",
    vif.PROFILE: "compact",
    vif.PROFILE_WITH_REGISTERS: "registers",
}


def _qualified(header: Header, extensions: bytes) -> Header:
    exponent = header.quantity.exponent
    names: list[str] = []
    profile, error = "", ""
    second = False
    for octet in extensions:
        code = octet & 0x7F
        if second:
            names.append(vif.SECOND_MODIFIERS.get(code, f"VIFE FC {code:02X}"))
            second = False
        elif code == vif.MANUFACTURER_VIFE:
            names.append("manufacturer specific")
            break  # what follows is not ours to read
        elif code in _PROFILES:
            profile = _PROFILES[code]
        elif 0x70 <= code <= 0x77:
            exponent += code - 0x76
        elif code == vif.TIMES_1000:
            exponent += 3
        elif octet == EXTENDED | vif.SECOND_LEVEL:
            second = True
        elif code in vif.RECORD_ERRORS:
            error = vif.RECORD_ERRORS[code]
        else:
            names.append(vif.MODIFIERS.get(code, f"VIFE {code:02X}"))
    quantity = header.quantity
    if exponent != quantity.exponent:
        quantity = msgspec.structs.replace(quantity, exponent=exponent)
    return msgspec.structs.replace(
        header, quantity=quantity, modifiers=tuple(names), profile=profile, error=error
    )
