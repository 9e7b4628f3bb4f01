"""The consumer's door: routes of the M2M interface and of the web pages.

Nothing is answered but a challenge before the consumer is known (TR-03109-1 v1.0 3.4.4.1); then
paths of other consumers do not exist for him (404).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from han.digest import DigestAuthenticator
from han.m2m import M2mService
from han.session import Authenticator, Login, Refusal
from han.web import WebPages
from smgw_emu.core.contracts import ConsumerView
from smgw_emu.core.device import Device
from smgw_emu.core.instants import WorldTime
from smgw_emu.core.selftest import SelfTestPort
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.transport.http import Request, Response, Session

_M2M = re.compile(r"/smgw/m2m/([^/]+)/json", re.ASCII)
_WEB = re.compile(r"/smgw/cust/([^/]+)/(start|selftest|logout)", re.ASCII)
_M2M_ROOTS = ("/smgw/m2m", "/smgw/m2m/")


@dataclass(frozen=True, slots=True)
class HanMaterial:
    """What the interface shows but does not make.

    Attributes:
        han_certificate: the HAN certificate as PEM text.
        wan_certificates: (index, SIG certificate DER, Sub-CA DER); index 0 is the Guetesiegel.
        taf_profile: usage point -> its profile as DER of a CMS SignedData.
    """

    han_certificate: bytes
    wan_certificates: tuple[tuple[int, bytes, bytes], ...]
    taf_profile: Callable[[UsagePoint], bytes]


class HanInterface:
    """Answers every request of the HAN listener.

    Args:
        device: the core.
        material: certificates and profiles to show.
        self_test: the self-test machine.
        random: random octets.
        stopwatch: monotonic milliseconds, for ``elapsed-time``.
    """

    def __init__(
        self,
        device: Device,
        material: HanMaterial,
        self_test: SelfTestPort,
        random: Callable[[int], bytes],
        stopwatch: Callable[[], int],
    ) -> None:
        self._consumers = {consumer.login: consumer for consumer in device.config.consumer}
        consumers = self._consumers
        digest = DigestAuthenticator(device.profile.digest, device.id.lower, consumers, random)
        self._device = device
        self._authenticator = Authenticator(
            device.profile.digest, digest, consumers, device.logbooks, device.now
        )
        self._m2m = M2mService(device, material, self_test, stopwatch)
        self._web = WebPages(device, self_test)

    def refresh(self, material: HanMaterial) -> None:
        """Follow a change of consumers, contracts or certificates; who is logged in stays so."""
        self._consumers.clear()
        self._consumers.update({c.login: c for c in self._device.config.consumer})
        self._authenticator.refresh(self._consumers)
        self._m2m.refresh(material)

    def handle(self, request: Request, session: Session, now: WorldTime) -> Response | None:
        """Answer a request; None means silence."""
        login = self._authenticator.authenticate(request, session, now)
        if isinstance(login, Refusal):
            return login.response
        path = request.path
        user_id = login.consumer.user_id
        if path in _M2M_ROOTS:
            return self._redirect(request, f"/smgw/m2m/{user_id}/json", ("GET", "POST"))
        if path == "/":
            return self._redirect(request, f"/smgw/cust/{user_id}/start", ("GET", "HEAD"))
        m2m = _M2M.fullmatch(path)
        if m2m and m2m[1] == user_id:
            view = ConsumerView(self._device, login.consumer)
            return self._m2m.handle(request, view, now)
        web = _WEB.fullmatch(path)
        if web and web[1] == user_id:
            return self._page(request, web[2], login, session, now)
        return Response(404)

    def _redirect(self, request: Request, location: str, methods: tuple[str, ...]) -> Response:
        if request.method not in methods:
            return Response(405)
        return Response(307, headers=[("location", location)])

    def _page(
        self, request: Request, page: str, login: Login, session: Session, now: WorldTime
    ) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return Response(405)
        if page == "logout":
            self._authenticator.log_out(login, session, now)
            return self._web.logged_out()
        if page == "selftest":
            return self._web.self_test(login.consumer, now)
        return self._web.start(login.consumer, now)
