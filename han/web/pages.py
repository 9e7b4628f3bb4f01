"""Start page, self-test page and farewell page: German, as pictured, without the vendor's logo."""

from __future__ import annotations

from html import escape
from importlib import resources
from string import Template

from smgw_emu.core.config import Consumer
from smgw_emu.core.device import Device
from smgw_emu.core.instants import WorldTime
from smgw_emu.core.legal_time import local
from smgw_emu.core.selftest import SelfTestAnswer, SelfTestPort
from smgw_emu.core.status import Condition
from smgw_emu.transport.http import Headers, Response

_HEADERS: Headers = [
    ("content-type", "text/html; charset=utf-8"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    # the countdown is the only script, and stands in the page itself
    (
        "content-security-policy",
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
    ),
]

# Field notes 7.2, wording of the manual's figures.
STARTED = "Der Selbsttest wurde gestartet!"
RUNNING = "Der Selbsttest wird momentan ausgeführt!"
RESULTS = (
    "Der Selbsttest benötigt einige Minuten, die Ergebnisse werden in das Log eingetragen und"
    " können dort eingesehen werden."
)
LOCKED = (
    "Der Selbsttest wurde vor kurzem ausgeführt und kann erst in {wait} Sekunden wieder gestartet"
    " werden!"
)
LOGGED_OUT = "Abmelden erfolgreich"

_MENU = (("start", "Startseite"), ("selftest", "SMGW-Selbsttest"), ("logout", "Abmelden"))


class WebPages:
    """Renders the pages of one gateway."""

    def __init__(self, device: Device, self_test: SelfTestPort) -> None:
        self._device = device
        self._self_test = self_test
        page = resources.files("han.web").joinpath("page.html")
        self._template = Template(page.read_text("utf-8"))

    def start(self, consumer: Consumer, now: WorldTime) -> Response:
        """Return the start page: five rows about the gateway, no readings (HAN-22, HAN-26)."""
        device, about = self._device, self._device.profile.device
        faulty = Condition.FATAL in device.metering.conditions
        rows = (
            ("SMGW-ID", str(device.id)),
            ("Hersteller", about.manufacturer),
            ("Firmware-Version", about.firmware_version),
            ("Status", "Fehler" if faulty else "OK"),
            ("Systemzeit", local(device.now(now)).strftime("%d.%m.%Y %H:%M")),
        )
        table = "".join(
            f'<tr><th scope="row">{escape(label)}</th><td>{escape(value)}</td></tr>'
            for label, value in rows
        )
        return self._page(
            "start", consumer, "Informationen über das SMGW", f"<table>{table}</table>"
        )

    def self_test(self, consumer: Consumer, now: WorldTime) -> Response:
        """Start a self-test as a click on the menu does, and say what came of it."""
        reply = self._self_test.request(now, "Letztverbraucher")
        if reply.answer is SelfTestAnswer.LOCKED:
            wait = f'<span id="wait">{reply.wait_s}</span>'
            body = f'<p role="status">{LOCKED.format(wait=wait)}</p>'
        else:
            first = STARTED if reply.answer is SelfTestAnswer.STARTED else RUNNING
            body = f'<p role="status">{first}</p><p>{RESULTS}</p>'
        return self._page("selftest", consumer, "SMGW-Selbsttest", body)

    def logged_out(self) -> Response:
        """Return the page after Abmelden; the manual has no picture of it (field notes 7.2)."""
        link = '<p><a href="/">Erneut anmelden</a></p>'
        return self._page("logout", None, LOGGED_OUT, link, close=True)

    def _page(
        self,
        active: str,
        consumer: Consumer | None,
        heading: str,
        content: str,
        *,
        close: bool = False,
    ) -> Response:
        menu = ""
        if consumer is not None:
            menu = "".join(_menu_item(name, label, active, consumer) for name, label in _MENU)
        title = f"Statusinformationen vom SMGW – {self._device.id} –"
        body = self._template.substitute(
            title=escape(title), menu=menu, heading=escape(heading), content=content
        )
        return Response(200, body.encode(), list(_HEADERS), close=close)


def _menu_item(name: str, label: str, active: str, consumer: Consumer) -> str:
    here = ' aria-current="page"' if name == active else ""
    address = escape(f"/smgw/cust/{consumer.user_id}/{name}")
    return f'<li><a href="{address}"{here}>{escape(label)}</a></li>'
