"""New certificates over the running session (DS v2.0 9.3.1, 9.3.2).

First the meter's certificate and key, then the gateway's certificate; each counts on both sides
beside the old one as soon as it is offered. At the end TLS begins anew, with the new ones. A step
that fails leaves everything that worked before it working.
"""

from __future__ import annotations

from collections.abc import Callable

from hsm_sim import SecurityModuleError
from lmn.sml.answers import refusals
from lmn.sml.messages import Message
from lmn.sml.orders import Order, update_gateway_certificate, update_meter_key
from smgw_emu.core.instants import WorldTime
from smgw_emu.wired_line.line import WiredLine

Done = Callable[[str], None]
"""Called once with "" or with what failed."""


def renew(line: WiredLine, meter: str, done: Done) -> None:
    """Renew both certificates towards a meter.

    Args:
        line: the line it is on.
        meter: its key.
        done: called at the end.
    """
    session = line.session(meter)
    assert session is not None
    credentials = session.credentials
    try:
        certificate, key = credentials.make_for_meter(line.date())
        credentials.offer_meter_certificate(certificate)
    except SecurityModuleError as error:
        done(str(error))
        return

    def ask(order: Order, then: Callable[[], None]) -> None:
        def answer(messages: list[Message] | None, reason: str, _at: WorldTime) -> None:
            failed = reason or ", ".join(refusals(messages or []))
            if not failed:
                try:
                    then()
                except SecurityModuleError as error:
                    failed = str(error)
            if failed:
                done(f"{order.kind}: {failed}")

        line.order(meter, order, answer)

    def own() -> None:
        made = credentials.renew_own(line.date())

        def last() -> None:
            credentials.switch(made)
            line.rebuild(meter)
            done("")

        ask(update_gateway_certificate(made), last)

    ask(update_meter_key(certificate, key), own)
