"""Records in allocation and check broadcasts and in their answers (``lmn-wired.md`` 1.3).

Record, 32 octets, 0 to 63 of them in one UI frame::

    0   1  HDLC address
    1   1  slot: 0 in the allocation list, 1..n in the check list, the slot used in an answer
    2  14  LMN participant id, right-padded with 00
    16 14  Sensor-ID, right-padded with 00; differs from the former behind an adapter
    30  2  state (0000 in the one real frame)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from smgw_emu.core.errors import LocalProtocolError, RemoteProtocolError

RECORD_LENGTH = 32
ID_LENGTH = 14
MAX_RECORDS = 63


class Record(NamedTuple):
    """One participant; the ids without their padding."""

    address: int
    slot: int
    participant: bytes
    sensor: bytes
    state: bytes = b"\x00\x00"


def encode_records(records: Iterable[Record]) -> bytes:
    """Encode records to the information field of a UI frame.

    Raises:
        LocalProtocolError: an id is longer than 14 octets, or there are more than 63 records.
    """
    out = bytearray()
    for record in records:
        if max(len(record.participant), len(record.sensor)) > ID_LENGTH or len(record.state) != 2:
            raise LocalProtocolError("a participant's id has at most 14 octets, its state two")
        out += bytes((record.address, record.slot))
        out += record.participant.ljust(ID_LENGTH, b"\x00") + record.sensor.ljust(
            ID_LENGTH, b"\x00"
        )
        out += record.state
    if len(out) > MAX_RECORDS * RECORD_LENGTH:
        raise LocalProtocolError(f"more than {MAX_RECORDS} participants")
    return bytes(out)


def decode_records(information: bytes) -> list[Record]:
    """Decode the information field of a UI frame.

    Raises:
        RemoteProtocolError: not a whole number of records, or more than 63.
    """
    if len(information) % RECORD_LENGTH or len(information) > MAX_RECORDS * RECORD_LENGTH:
        raise RemoteProtocolError(f"{len(information)} octets are no list of participants")
    found = []
    for start in range(0, len(information), RECORD_LENGTH):
        item = information[start : start + RECORD_LENGTH]
        found.append(
            Record(item[0], item[1], read_id(item[2:16]), read_id(item[16:30]), item[30:32])
        )
    return found


def read_id(field: bytes) -> bytes:
    """Return an id without padding; a DIN 43863-5 server id has ten octets, whatever it ends in."""
    if field[0] == 0x0A and not any(field[10:]):
        return field[:10]
    return field.rstrip(b"\x00")
