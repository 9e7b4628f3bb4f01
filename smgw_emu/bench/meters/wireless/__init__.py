"""Virtual wireless meters: gas, water, heat, cold, heat cost, electricity (wM-Bus, OMS)."""

from smgw_emu.bench.meters.wireless.catalog import KINDS, Kind
from smgw_emu.bench.meters.wireless.meter import Fault, WirelessMeter

__all__ = ["KINDS", "Fault", "Kind", "WirelessMeter"]
