"""When a WAN connection is opened, kept, tried again and given up (T40)."""

from wan.channel.machine import Channel, ChannelState, Connect, Effect, GaveUp, HangUp

__all__ = ["Channel", "ChannelState", "Connect", "Effect", "GaveUp", "HangUp"]
