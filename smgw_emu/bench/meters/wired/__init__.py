"""Virtual wired meters: the secondary side of the LMN, from HDLC to SML.

* :mod:`.catalog` - the meters of LMN-11 and what they can measure
* :mod:`.registers` - values, status, logs of one meter
* :mod:`.sml_server` - answers to SML orders
* :mod:`.meter` - one meter as a node of a bus
* :mod:`.rack` - several meters, their delivery note
"""

from smgw_emu.bench.meters.wired.catalog import CATALOG, Model
from smgw_emu.bench.meters.wired.meter import MeterFaults, WiredMeter
from smgw_emu.bench.meters.wired.rack import Rack, delivery_note, make_meters
from smgw_emu.bench.meters.wired.registers import MeterRegisters

__all__ = [
    "CATALOG",
    "MeterFaults",
    "MeterRegisters",
    "Model",
    "Rack",
    "WiredMeter",
    "delivery_note",
    "make_meters",
]
