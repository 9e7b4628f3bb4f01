"""One error for all layers: which layer refused, and why."""

from __future__ import annotations

from enum import StrEnum

from smgw_emu.core.errors import RemoteProtocolError


class Layer(StrEnum):
    """Where a message was refused."""

    CONTAINER = "container"
    SIGNATURE = "signature"
    ENVELOPE = "envelope"
    COMPRESSION = "compression"


class CmsError(RemoteProtocolError):
    """A CMS message was refused.

    Attributes:
        layer: which layer refused.
        reason: why, in one line without content.
    """

    def __init__(self, layer: Layer, reason: str) -> None:
        super().__init__(f"CMS {layer}: {reason}")
        self.layer = layer
        self.reason = reason
