"""HDLC of the wired LMN: ISO 13239 frame format type 3, normal response mode (DS v2.0 chapter 8).

* :mod:`lmn.hdlc.frame` - one frame
* :mod:`lmn.hdlc.receiver` - frames in a stream of octets
* :mod:`lmn.hdlc.primary` - the gateway's link to one meter
* :mod:`lmn.hdlc.secondary` - the meter's side
"""

from lmn.hdlc.frame import Frame, Kind, decode_frame, encode_frame
from lmn.hdlc.primary import PrimaryLink
from lmn.hdlc.receiver import HdlcDamage, HdlcReceiver, Received
from lmn.hdlc.secondary import SecondaryLink

__all__ = [
    "Frame",
    "HdlcDamage",
    "HdlcReceiver",
    "Kind",
    "PrimaryLink",
    "Received",
    "SecondaryLink",
    "decode_frame",
    "encode_frame",
]
