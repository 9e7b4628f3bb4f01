"""The application layer: a row of data records (EN 13757-3 clause 6; ``lmn-wireless.md`` 3).

``DIF DIFE* VIF VIFE* data`` again and again; 2F fills, 0F and 1F begin the manufacturer's block,
which is kept apart and never used for billing (REQ.WMBUS.apl.30), 7F asks for everything.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from lmn.mbus.header import VARIABLE, Header, header_end, parse_header
from lmn.mbus.values import LENGTHS, Value, decode, variable, variable_length
from smgw_emu.core.errors import RemoteProtocolError

FILLER, MANUFACTURER, MANUFACTURER_MORE, GLOBAL_READOUT = 0x2F, 0x0F, 0x1F, 0x7F
MAX_RECORDS = 4096  # own choice; 16 kB of the shortest records would be more


class Record(msgspec.Struct, frozen=True):
    """A data record: header, value, data as sent."""

    header: Header
    value: Value
    raw: bytes

    @property
    def number(self) -> Decimal | None:
        """The value in the quantity's unit, exactly; None if it is no number."""
        if isinstance(self.value, (int, Decimal)):
            return Decimal(self.value).scaleb(self.header.quantity.exponent)
        return None


class Application(msgspec.Struct, frozen=True):
    """What a telegram says.

    Attributes:
        records: in the order sent.
        manufacturer: octets after 0F or 1F.
        more: 1F: the rest follows in another telegram.
    """

    records: tuple[Record, ...]
    manufacturer: bytes = b""
    more: bool = False

    def find(self, name: str) -> Record | None:
        """Return the first record of a quantity with storage 0, None without."""
        for record in self.records:
            if record.header.quantity.name == name and record.header.storage == 0:
                return record
        return None


def decode_records(data: bytes) -> Application:
    """Read an application layer.

    Raises:
        RemoteProtocolError: it is cut off, or holds a reserved code.
    """
    try:
        return _decode(data)
    except IndexError as error:
        raise RemoteProtocolError("the application layer ends within a record") from error


def _decode(data: bytes) -> Application:
    records: list[Record] = []
    at, end = 0, len(data)
    while at < end:
        dif = data[at]
        if dif == FILLER:
            at += 1
            continue
        if dif & 0x0F == 0x0F:
            if dif in {MANUFACTURER, MANUFACTURER_MORE}:
                more = dif == MANUFACTURER_MORE
                return Application(tuple(records), data[at + 1 :], more)
            if dif == GLOBAL_READOUT:
                at += 1
                continue
            raise RemoteProtocolError(f"reserved DIF {dif:02X}")
        start, at = at, header_end(data, at)
        header = parse_header(data[start:at])
        if header.coding == VARIABLE:
            lvar = data[at]
            at += 1
            length = variable_length(lvar)
            raw = data[at : at + length]
            value = variable(header, lvar, raw) if len(raw) == length else None
        else:
            length = LENGTHS[header.coding]
            raw = data[at : at + length]
            value = decode(header, raw) if len(raw) == length else None
        at += length
        if at > end:
            raise RemoteProtocolError("the application layer ends within a record")
        records.append(Record(header, None if header.error else value, raw))
        if len(records) > MAX_RECORDS:
            raise RemoteProtocolError(f"more than {MAX_RECORDS} records")
    return Application(tuple(records))
