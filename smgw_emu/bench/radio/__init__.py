"""The other side of the radio: virtual receivers, and meters that send in turn."""

from smgw_emu.bench.radio.rack import Broadcaster, delivery_note, make_meters
from smgw_emu.bench.radio.sticks import VIRTUAL_STICKS, VirtualStick

__all__ = ["VIRTUAL_STICKS", "Broadcaster", "VirtualStick", "delivery_note", "make_meters"]
