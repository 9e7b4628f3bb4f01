"""The administrator's head-end: three listeners, wake-ups, and who is connected.

* MANAGEMENT: gateways connect, we ask (:class:`~smgw_emu.bench.gwa.session.GatewaySession`).
* ADMIN-SERVICE: gateways connect and push events, results and grid data.
* NTP-TLS: gateways ask for the time; the same time is served at ``/gwa/ntp`` (WKS4).

Only devices of a delivery note are let in, by the certificate expected of them; a revoked or
expired one is refused within the handshake (GW-23, WAN-43).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import structlog

from hsm_sim import Purpose
from smgw_emu.bench.gwa.card import AdministratorCard
from smgw_emu.bench.gwa.note import DeliveryNote
from smgw_emu.bench.gwa.registry import Registry, UnknownDeviceError
from smgw_emu.bench.gwa.session import GatewaySession
from smgw_emu.bench.pki import Participant, TestPki
from smgw_emu.bench.timeserver import TimeServer
from smgw_emu.bench.wakeup import send, wakeup_packet
from smgw_emu.bench.web import PeerListener, web_handler
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.ids import DeviceId
from smgw_emu.core.instants import MILLISECOND, SECOND
from smgw_emu.profiles import Profile
from smgw_emu.transport.clock import Clock
from smgw_emu.transport.http import Request, Response
from smgw_emu.transport.presets import TlsContext, TlsIdentity, server_context
from smgw_emu.transport.stream import StreamHandler, TlsStream
from smgw_emu.transport.tls import TlsEnd
from smgw_emu.transport.web import WebCaller
from wan.certificates import CertificateError, check_path, ec_key, key_id, load
from wan.cms import CmsError, Recipient, Trust, verify
from wan.cosem.documents import MethodResponse, read_response
from wan.cosem.errors import CosemError
from wan.cosem.media import OCTETS, Protection, open_body
from wan.delivery import read_event
from wan.ntp.packet import OCTETS as NTP_OCTETS

_log = structlog.get_logger("gwa")
POC = "/gwa"


@dataclass(slots=True)
class Addresses:
    """Where the services listen."""

    management: tuple[str, int] = ("127.0.0.1", 0)
    admin_service: tuple[str, int] = ("127.0.0.1", 0)
    ntp: tuple[str, int] = ("127.0.0.1", 0)


@dataclass(slots=True)
class Faults:
    """How the head-end misbehaves.

    Attributes:
        refuse: HTTP status it answers every push with, 0: none.
        silent: takes pushes and never answers.
        strangers: lets devices in that no note has named.
    """

    refuse: int = 0
    silent: bool = False
    strangers: bool = False


@dataclass(slots=True)
class Forwarded:
    """Grid data for a market participant, signature checked and removed (TR-03109-1 3.2.4.3)."""

    emt: str
    envelope: bytes
    id: str


class Administrator:
    """A GWA.

    Args:
        pki: where it gets certificates.
        identity: its triple.
        registry: its memory.
        clock: world time.
        profile: limits of TLS and HTTP.
        addresses: where to listen.
        keylog: file for TLS secrets.
    """

    def __init__(
        self,
        pki: TestPki,
        identity: Participant,
        registry: Registry,
        clock: Clock,
        profile: Profile,
        addresses: Addresses | None = None,
        keylog: str = "",
    ) -> None:
        self.pki = pki
        self.identity = identity
        self.registry = registry
        self.clock = clock
        self.profile = profile
        self.addresses = addresses or Addresses()
        self.faults = Faults()
        self.time = TimeServer()
        self.sessions: dict[str, GatewaySession] = {}
        self.forwarded: list[Forwarded] = []
        self.on_forward: Callable[[Forwarded], None] = lambda _grid: None
        self.on_event: Callable[[str, str, str], None] = lambda _device, _name, _text: None
        self._waiting: dict[str, asyncio.Future[GatewaySession]] = {}
        self._results: dict[str, asyncio.Future[MethodResponse]] = {}
        self._keylog = keylog
        self._context: TlsContext | None = None
        for known in registry.devices():
            self._make_known(known.id)
        limits = profile.wan_tls
        self._management = PeerListener(
            clock, self._tls, limits, self._judge, lambda: _Management(self), self._refused
        )
        self._service = PeerListener(
            clock, self._tls, limits, self._judge, self._service_handler, self._refused
        )
        self._ntp = PeerListener(
            clock, self._tls, limits, self._judge, lambda: _Ntp(self), self._refused
        )

    # -- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen.

        Raises:
            SmgwError: an address is in use.
        """
        for name, listener in self._listeners():
            host, port = getattr(self.addresses, name)
            try:
                setattr(self.addresses, name, await listener.start(host, port))
            except OSError as error:
                raise SmgwError(
                    f"{name} cannot listen on {host}:{port}: {error.strerror}"
                ) from error

    def _listeners(self) -> list[tuple[str, PeerListener]]:
        return [
            ("management", self._management),
            ("admin_service", self._service),
            ("ntp", self._ntp),
        ]

    async def stop(self) -> None:
        """Stop."""
        for _, listener in self._listeners():
            await listener.stop()

    def cut(self) -> None:
        """An outage: nothing listens, connections break."""
        for _, listener in self._listeners():
            listener.cut()
        self.sessions.clear()

    def card(self) -> AdministratorCard:
        """Return what a factory needs."""

        def address(place: tuple[str, int], path: str = "") -> tuple[str, ...]:
            return (f"https://{place[0]}:{place[1]}{path}",)

        def pem(purpose: Purpose) -> str:
            return ssl.DER_cert_to_PEM_cert(self.identity.identity(purpose).certificate_der)

        places = self.addresses
        return AdministratorCard(
            self.identity.name,
            pem(Purpose.TLS),
            pem(Purpose.SIG),
            pem(Purpose.ENC),
            address(places.management),
            address(places.admin_service, POC),
            address(places.ntp),
        )

    def import_note(self, note: DeliveryNote) -> None:
        """Take the devices of a delivery note."""
        for device in note.devices:
            self.registry.import_device(device)
            self._make_known(device.id)
            self.note(device.id.upper(), "delivery note", "imported", device.model)

    def _make_known(self, device: str) -> None:
        """Let the PKI accept renewals signed with certificates another process has had issued."""
        for octets in self.registry.device(device).certificates.values():
            certificate = load(octets)
            self.pki.issued.setdefault(key_id(certificate), certificate)

    def note(self, device: str, kind: str, result: str, detail: str = "") -> None:
        """Append to the communication history."""
        self.registry.note(self.clock.now().iso(), device, kind, result, detail)

    # -- TLS -------------------------------------------------------------------------------

    def _tls(self) -> TlsContext:
        if self._context is None:
            own = self.identity.tls
            identity = TlsIdentity(own.certificate_der, own.sign_digest, own.key_pem)
            self._context = server_context(
                self.profile.wan_tls.preset, identity, keylog=self._keylog
            )
        return self._context

    def set_identity(self, identity: Participant) -> None:
        """Act under another certificate from the next connection on."""
        self.identity, self._context = identity, None

    def _judge(self, leaf: bytes) -> str:
        """Tell why a gateway is refused, "" if it is not."""
        try:
            certificate = load(leaf)
            check_path(
                certificate,
                [self.pki.sub_ca],
                self.pki.root,
                self.clock.now().datetime(),
                purpose=Purpose.TLS,
                lists=self.pki.revocation_lists(self.clock.now().datetime()),
            )
            if not self.faults.strangers:
                name = self.registry.owner(leaf)
                if self.registry.device(name).state == "blocked":
                    return f"{name} is blocked"
        except (CertificateError, UnknownDeviceError) as error:
            return str(error)
        return ""

    def _refused(self, reason: str) -> None:
        self.note("", "TLS", "refused", reason)

    def protection(self, device: str) -> Protection:
        """Return content protection towards a gateway."""
        known = self.registry.device(device)
        enc = load(known.certificates["enc"])
        return Protection(
            self.identity.signer(),
            self._trust(device),
            self.identity.opener(),
            [Recipient(key_id(enc), ec_key(enc))],
        )

    def _trust(self, device: str) -> dict[bytes, Trust]:
        sig = self.registry.device(device).certificates["sig"]
        return {key_id(load(sig)): Trust(sig)}

    # -- management ------------------------------------------------------------------------

    def connected(self, session: GatewaySession) -> None:
        """A gateway has opened MANAGEMENT."""
        name = session.device
        self.sessions[name] = session
        known = self.registry.device(name)
        if known.state == "noted":
            self.registry.set_state(name, "connected")
        self.note(name, "MANAGEMENT", "open", f"generation {known.generation}")
        waiting = self._waiting.pop(name, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(session)

    def disconnected(self, session: GatewaySession, reason: str) -> None:
        """A MANAGEMENT channel is over."""
        if self.sessions.get(session.device) is session:
            del self.sessions[session.device]
        self.note(session.device, "MANAGEMENT", "closed", reason)

    async def session(self, device: str, *, timeout_s: int = 120) -> GatewaySession:
        """Return the open MANAGEMENT channel of a gateway; wakes it up if there is none.

        Raises:
            UnknownDeviceError: not in the registry.
            SmgwError: it did not connect in time.
        """
        known = self.registry.device(device)
        found = self.sessions.get(known.id)
        if found is not None:
            return found
        if known.wakeup:
            self.wake_up(known.id)
        return await self.next_session(known.id, timeout_s=timeout_s)

    async def next_session(self, device: str, *, timeout_s: int = 120) -> GatewaySession:
        """Wait for a gateway to open MANAGEMENT.

        Raises:
            SmgwError: it did not in time.
        """
        name = device.upper()
        future = self._waiting.get(name)
        if future is None:
            future = self._waiting[name] = asyncio.get_running_loop().create_future()

        def too_late() -> None:
            if not future.done():
                self._waiting.pop(name, None)
                text = f"{name} did not open MANAGEMENT within {timeout_s} s"
                future.set_exception(SmgwError(text))

        limit = self.clock.call_at(self.clock.now() + timeout_s * SECOND, too_late)
        try:
            return await asyncio.shield(future)
        finally:
            limit.cancel()

    def wake_up(self, device: str) -> None:
        """Send a wake-up (WAF7); whether it was good only shows when the gateway calls.

        Raises:
            SmgwError: the address of the service is not known or cannot be reached.
        """
        known = self.registry.device(device)
        host, _, port = known.wakeup.rpartition(":")
        if not port:
            raise SmgwError(f"no wake-up address of {known.id} is known")
        packet = wakeup_packet(self.identity, DeviceId.parse(known.id), self.clock.now().seconds)
        send(packet, host, int(port), known.transport)
        self.note(known.id, "wake-up", "sent", known.wakeup)

    def expect_result(self, cid: str) -> asyncio.Future[MethodResponse]:
        """Return a future for the asynchronous answer with a correlation id."""
        future: asyncio.Future[MethodResponse] = asyncio.get_running_loop().create_future()
        self._results[cid] = future
        return future

    # -- admin service -----------------------------------------------------------------------

    def _service_handler(self) -> StreamHandler:
        return web_handler(self.clock, self.profile.wan_http, self._push)

    def _push(self, request: Request, certificate: bytes) -> Response | None:
        """Take what a gateway pushes."""
        if self.faults.silent:
            return None
        if self.faults.refuse:
            return Response(self.faults.refuse)
        if request.method != "POST" or not request.path.startswith(POC + "/"):
            return Response(404 if request.method == "POST" else 405)
        path = request.path.removeprefix(POC)
        if path == "/ntp":
            return self._time_answer(request)
        device = self.registry.owner(certificate)
        cid = request.headers.get("x-cid", "")
        if path.startswith("/forward/"):
            return self._forward(device, path.removeprefix("/forward/"), request, cid)
        try:
            body = open_body(request.body, request.headers, self.protection(device), required=True)
            return (
                self._result(device, cid, body)
                if cid in self._results
                else (self._event(device, cid, body))
            )
        except CosemError as error:
            self.note(device, "ADMIN-SERVICE", "refused", str(error))
            return Response(error.status)

    def _time_answer(self, request: Request) -> Response:
        answer = self.time.answer(request.body[:NTP_OCTETS], self.clock.now())
        if not answer:
            return Response(400)
        return Response(200, answer, [("content-type", OCTETS)])

    def _result(self, device: str, cid: str, body: bytes) -> Response:
        response = read_response(body)
        future = self._results.pop(cid)
        if not future.done():
            future.set_result(response)
        self.note(device, "ADMIN-SERVICE", "result", f"status {response.status}")
        return Response(200)

    def _event(self, device: str, cid: str, body: bytes) -> Response:
        event = read_event(body)
        fields = (
            event.time,
            event.event,
            event.name,
            event.level,
            event.outcome,
            event.message,
        )
        fresh = self.registry.add_event(cid, device, fields)
        self.note(device, "ADMIN-SERVICE", event.name if fresh else "repeated", event.message)
        if fresh:
            self.on_event(device, event.name, event.message)
        return Response(200)

    def _forward(self, device: str, emt: str, request: Request, cid: str) -> Response:
        """Check and remove the gateway's signature, hand the rest on (3.2.4.3 step 3)."""
        try:
            verified = verify(request.body, self._trust(device))
        except CmsError as error:
            self.note(device, "grid data", "refused", str(error))
            return Response(422)
        grid = Forwarded(emt, verified.content, cid)
        self.forwarded.append(grid)
        self.note(device, "grid data", "forwarded", emt)
        self.on_forward(grid)
        return Response(200)


class _Management:
    """One MANAGEMENT connection: we are its HTTP client."""

    def __init__(self, administrator: Administrator) -> None:
        self._administrator = administrator
        self._caller: WebCaller | None = None
        self._session: GatewaySession | None = None

    def established(self, stream: TlsStream) -> None:
        assert stream.certificate is not None
        administrator = self._administrator
        try:
            device = administrator.registry.owner(stream.certificate)
        except UnknownDeviceError:
            stream.close()
            return
        self._caller = WebCaller(administrator.clock, f"{device.lower()}.sm", 60)
        self._caller.established(stream)
        self._session = GatewaySession(
            device, self._caller, administrator.protection(device), administrator.expect_result
        )
        administrator.connected(self._session)

    def received(self, stream: TlsStream, data: bytes) -> None:
        if self._caller is not None:
            self._caller.received(stream, data)

    def ended(self, stream: TlsStream, reason: TlsEnd, detail: str) -> None:
        if self._caller is not None and self._session is not None:
            self._caller.ended(stream, reason, detail)
            self._administrator.disconnected(self._session, str(reason))


@dataclass(slots=True)
class _Ntp:
    """One NTP-TLS connection."""

    administrator: Administrator
    pending: bytes = field(default=b"")

    def established(self, stream: TlsStream) -> None:
        """Wait for a request."""

    def received(self, stream: TlsStream, data: bytes) -> None:
        self.pending += data
        while len(self.pending) >= NTP_OCTETS:
            octets, self.pending = self.pending[:NTP_OCTETS], self.pending[NTP_OCTETS:]
            server = self.administrator.time
            answer = server.answer(octets, self.administrator.clock.now())
            if not answer:
                continue
            delay = server.faults.delay_ms * MILLISECOND
            clock = self.administrator.clock
            if delay:
                clock.call_at(clock.now() + delay, partial(stream.write, answer))
            else:
                stream.write(answer)

    def ended(self, stream: TlsStream, reason: TlsEnd, detail: str) -> None:
        """Nothing is kept."""
