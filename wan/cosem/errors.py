"""Why a request or a document was refused."""

from __future__ import annotations

from smgw_emu.core.errors import RemoteProtocolError


class CosemError(RemoteProtocolError):
    """A request is answered with an error.

    Attributes:
        status: HTTP status (Anlage II table 12; 422 is table 6.2 of the Detailspezifikation).
        element: what was wrong with it, as a path into the document or resource; "" for the whole.
    """

    def __init__(self, status: int, reason: str, element: str = "") -> None:
        super().__init__(f"{element}: {reason}" if element else reason)
        self.status = status
        self.reason = reason
        self.element = element


class XmlError(CosemError):
    """A document cannot be read (422)."""

    def __init__(self, reason: str, element: str = "") -> None:
        super().__init__(422, reason, element)
