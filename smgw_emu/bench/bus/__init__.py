"""A simulated RS-485 bus: what is sent at the same time is destroyed, and everything else heard.

* :mod:`smgw_emu.bench.bus.sim` - the line, in simulated time, with seeded faults
* :mod:`smgw_emu.bench.bus.live` - the line behind a real port, socket, pty or TCP connection
"""

from smgw_emu.bench.bus.live import LiveBus, open_wire
from smgw_emu.bench.bus.sim import BusSim, Faults, Node

__all__ = ["BusSim", "Faults", "LiveBus", "Node", "open_wire"]
