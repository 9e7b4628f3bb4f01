"""The wired LMN as a bus: who takes part, under which address, and who speaks next.

* :mod:`lmn.bus.records` - the record of a participant in broadcasts
* :mod:`lmn.bus.primary` - the gateway's side: broadcasts, turns
* :mod:`lmn.bus.discovery` - what the answers to a broadcast mean
* :mod:`lmn.bus.participant` - a meter's side
"""

from lmn.bus.discovery import Found, Lost, Station
from lmn.bus.participant import Participant
from lmn.bus.primary import Bus, BusEvent, FromStation, Trouble, TroubleKind
from lmn.bus.records import Record, decode_records, encode_records

__all__ = [
    "Bus",
    "BusEvent",
    "Found",
    "FromStation",
    "Lost",
    "Participant",
    "Record",
    "Station",
    "Trouble",
    "TroubleKind",
    "decode_records",
    "encode_records",
]
