"""The wireless LMN of a gateway: receivers, and what becomes of telegrams."""

from smgw_emu.radio_line.line import RadioLine
from smgw_emu.radio_line.reception import Reception

__all__ = ["RadioLine", "Reception"]
