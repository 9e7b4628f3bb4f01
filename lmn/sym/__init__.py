"""SYM: pairing of gateway and meter with the meter's individual key MK0 (DS v2.0 8.3).

* :mod:`lmn.sym.messages` - one message
* :mod:`lmn.sym.pairing` - the gateway's side: pairing, crypto reset
* :mod:`lmn.sym.meter` - a meter's side
"""

from lmn.sym.messages import Quirk, SymCodec, SymMessage, SymType
from lmn.sym.meter import MeterPairing, PairingMemory
from lmn.sym.pairing import Credentials, CryptoReset, Failed, Finished, Pairing, Send

__all__ = [
    "Credentials",
    "CryptoReset",
    "Failed",
    "Finished",
    "MeterPairing",
    "Pairing",
    "PairingMemory",
    "Quirk",
    "Send",
    "SymCodec",
    "SymMessage",
    "SymType",
]
