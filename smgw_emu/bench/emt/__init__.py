"""A reference market participant (EMT): takes deliveries, checks them, keeps the values."""

from smgw_emu.bench.emt.checks import Finding, Quality, check_delivery
from smgw_emu.bench.emt.server import MarketParticipant
from smgw_emu.bench.emt.store import ValueStore

__all__ = ["Finding", "MarketParticipant", "Quality", "ValueStore", "check_delivery"]
