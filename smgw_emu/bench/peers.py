"""Judging a TLS client's certificate within the handshake, as servers of the SM-PKI do."""

from __future__ import annotations

from collections.abc import Callable

from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.transport.handshake import CERTIFICATE, parse_certificates
from smgw_emu.transport.tls import Watcher

BAD_CERTIFICATE = 42  # RFC 5246 7.2.2


class ClientJudge(Watcher):
    """Refuses clients whose certificate is not wanted.

    Args:
        judge: leaf in DER -> "" if it is good, else why not.
    """

    def __init__(self, judge: Callable[[bytes], str]) -> None:
        self._judge = judge
        self.reason = ""

    def message(self, kind: int, body: bytes, *, ours: bool) -> int | None:
        """Look at the client's Certificate message; one without a certificate is refused too."""
        if ours or kind != CERTIFICATE:
            return None
        try:
            chain = parse_certificates(body)
        except RemoteProtocolError:
            return BAD_CERTIFICATE
        self.reason = self._judge(chain[0]) if chain else "no certificate"
        return BAD_CERTIFICATE if self.reason else None
