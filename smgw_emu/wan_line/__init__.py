"""The gateway's WAN shell: channels, what runs on them, and the hooks into the core."""

from smgw_emu.wan_line.side import WanSide, WanState

__all__ = ["WanSide", "WanState"]
