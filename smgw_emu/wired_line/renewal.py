"""New certificates over the running session (DS v2.0 9.3.1, 9.3.2).

First the meter's certificate and key, then the gateway's certificate; each counts on both sides
beside the old one as soon as it is offered. At the end TLS begins anew, with the new ones. A step
that fails leaves everything that worked before it working.
"""

from __future__ import annotations

from collections.abc import Callable

from lmn.sml.answers import refusals
from lmn.sml.messages import Message
from lmn.sml.orders import Order, update_gateway_certificate, update_meter_key
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import WorldTime
from smgw_emu.wired_line.line import WiredLine
from smgw_emu.wired_line.session import MeterSession

Done = Callable[[str], None]
"""Called once with "" or with what failed."""


class Renewal:
    """One renewal of both certificates towards a meter.

    Args:
        line: the line it is on.
        session: with the meter.
        done: called at the end.
    """

    def __init__(self, line: WiredLine, session: MeterSession, done: Done) -> None:
        self._line = line
        self._session = session
        self._credentials = session.credentials
        self._report = done
        self._made = b""

    def start(self) -> None:
        """Begin; only one at a time, because the gateway has two key slots per meter, not three."""
        if self._session.renewing:
            self._report("a renewal is under way")
            return
        self._session.renewing = True
        self._step(self._offer)

    def _step(self, work: Callable[[], None]) -> None:
        try:
            work()
        except SmgwError as error:
            self._done(str(error))

    def _done(self, failed: str) -> None:
        self._session.renewing = False
        self._report(failed)

    def _ask(self, order: Order, then: Callable[[], None]) -> None:
        def answer(messages: list[Message] | None, reason: str, _at: WorldTime) -> None:
            failed = reason or ", ".join(refusals(messages or []))
            if failed:
                self._done(f"{order.kind}: {failed}")
            else:
                self._step(then)

        self._line.order(self._credentials.meter, order, answer)

    def _offer(self) -> None:
        certificate, key = self._credentials.make_for_meter(self._line.date())
        self._credentials.offer_meter_certificate(certificate)
        self._ask(update_meter_key(certificate, key), self._own)

    def _own(self) -> None:
        self._made = self._credentials.renew_own(self._line.date())
        self._ask(update_gateway_certificate(self._made), self._switch)

    def _switch(self) -> None:
        self._credentials.switch(self._made)
        self._line.rebuild(self._credentials.meter)
        self._done("")


def renew(line: WiredLine, meter: str, done: Done) -> None:
    """Renew the certificates towards a meter that is on a line.

    Raises:
        SmgwError: it is not.
    """
    session = line.session(meter)
    if session is None:
        raise SmgwError(f"meter {meter} has no HDLC address on {line.name}")
    Renewal(line, session, done).start()
