"""The wired LMN of a gateway: a port, the bus on it, a session with each configured meter.

* :mod:`smgw_emu.wired_line.records` - TLS records as I frames
* :mod:`smgw_emu.wired_line.credentials` - keys and certificates towards one meter
* :mod:`smgw_emu.wired_line.session` - pairing, TLS and SML with one meter
* :mod:`smgw_emu.wired_line.reading` - what a meter is asked, and when
* :mod:`smgw_emu.wired_line.line` - all of it on one port
"""

from smgw_emu.wired_line.line import WiredLine
from smgw_emu.wired_line.session import SessionState

__all__ = ["SessionState", "WiredLine"]
