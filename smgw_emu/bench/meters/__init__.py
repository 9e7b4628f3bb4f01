"""Virtual meters: what stands on the other side of the gateway's meter ports."""

from smgw_emu.bench.meters.electricity import ElectricityMeter

__all__ = ["ElectricityMeter"]
