"""The transparent channel on real sockets: listeners, legs, channels (rules: ``cls_proxy``)."""

from smgw_emu.cls_line.legs import ClsParts
from smgw_emu.cls_line.line import ClsLine

__all__ = ["ClsLine", "ClsParts"]
