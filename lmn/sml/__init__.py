"""SML 1.04 (IEC 62056-5-3-8 family; DIN VDE 0418-63-9): the language of German electricity meters.

* :mod:`lmn.sml.transport` - transport layer v1: frames in a stream of octets
* :mod:`lmn.sml.tlv` - type-length fields
* :mod:`lmn.sml.messages` - typed messages
* :mod:`lmn.sml.report` - a list response as a :class:`~smgw_emu.core.values.MeterReport`
"""

from lmn.sml.messages import Message, decode_messages, encode_messages
from lmn.sml.transport import SmlDamage, SmlFile, SmlReceiver, encode_frame

__all__ = [
    "Message",
    "SmlDamage",
    "SmlFile",
    "SmlReceiver",
    "decode_messages",
    "encode_frame",
    "encode_messages",
]
