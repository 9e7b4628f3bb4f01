"""A reference administrator: registry, head-end, commissioning.

``card`` is what a factory needs of him, ``note`` what he gets of a device, ``registry`` his memory,
``server`` his listeners, ``session`` what he asks of one gateway, ``commission`` the whole
sequence.
"""

from smgw_emu.bench.gwa.card import AdministratorCard
from smgw_emu.bench.gwa.note import DeliveryNote, NotedDevice
from smgw_emu.bench.gwa.registry import Registry
from smgw_emu.bench.gwa.server import Administrator
from smgw_emu.bench.gwa.session import GatewayError, GatewaySession

__all__ = [
    "Administrator",
    "AdministratorCard",
    "DeliveryNote",
    "GatewayError",
    "GatewaySession",
    "NotedDevice",
    "Registry",
]
