"""A market participant's listener: authenticate, verify, open, check, store, acknowledge."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from hsm_sim import Purpose
from smgw_emu.bench.emt.checks import (
    Finding,
    Value,
    check_delivery,
    raster_of,
    substitutes,
    taf_of,
)
from smgw_emu.bench.emt.signatures import check_signatures
from smgw_emu.bench.emt.store import ValueStore
from smgw_emu.bench.pki import Participant, TestPki
from smgw_emu.bench.web import PeerListener, web_handler
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.wan_profiles import WanProfile
from smgw_emu.profiles import Profile
from smgw_emu.transport.clock import Clock
from smgw_emu.transport.http import Request, Response
from smgw_emu.transport.presets import TlsContext, TlsIdentity, server_context
from smgw_emu.transport.stream import StreamHandler
from wan.certificates import CertificateError, check_path, common_name, ec_key, key_id, load
from wan.cms import CmsError, Trust, carried_certificates, unseal
from wan.cms.message import open_signed
from wan.cosem.errors import CosemError
from wan.cosem.media import parse_media_type
from wan.delivery import ValueList, read_value_list

_log = structlog.get_logger("emt")


@dataclass(slots=True)
class Faults:
    """How the participant misbehaves: HTTP status it answers with, 0 for good; silence."""

    refuse: int = 0
    silent: bool = False


class MarketParticipant:
    """An EMT.

    Args:
        pki: whose certificates it trusts.
        identity: its triple.
        clock: world time.
        profile: limits of TLS and HTTP.
        store: where values go.
        period_s: registration period of the contracts.
        keylog: file for TLS secrets.
    """

    def __init__(
        self,
        pki: TestPki,
        identity: Participant,
        clock: Clock,
        profile: Profile,
        store: ValueStore | None = None,
        *,
        period_s: int = 900,
        keylog: str = "",
    ) -> None:
        self.pki = pki
        self.identity = identity
        self.clock = clock
        self.profile = profile
        self.store = store or ValueStore()
        self.period_s = period_s
        self.faults = Faults()
        self.received = 0
        self.repeated = 0
        self.refused: list[str] = []
        self.address = ("127.0.0.1", 0)
        self.poc = f"/{identity.name.partition('.')[0]}"
        self._keylog = keylog
        self._context: TlsContext | None = None
        self._listener = PeerListener(
            clock, self._tls, profile.wan_tls, self._judge, self._handler, self._note
        )

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; returns the address gateways are told.

        Raises:
            SmgwError: the address is in use.
        """
        try:
            self.address = await self._listener.start(host, port or self.address[1])
        except OSError as error:
            raise SmgwError(f"EMT cannot listen on {host}:{port}: {error.strerror}") from error
        return f"https://{self.address[0]}:{self.address[1]}{self.poc}"

    async def stop(self) -> None:
        """Stop."""
        await self._listener.stop()

    def cut(self) -> None:
        """An outage."""
        self._listener.cut()

    def wan_profile(self, name: str = "", **changes: object) -> WanProfile:
        """Return the communication profile a gateway needs of this participant."""
        fields: dict[str, object] = {
            "name": name or self.poc[1:],
            "scenario": "INFO-REPORT",
            "role": "EMT",
            "addresses": (f"https://{self.address[0]}:{self.address[1]}{self.poc}",),
            "tls": self.identity.tls.certificate_der,
            "sig": self.identity.sig.certificate_der,
            "enc": self.identity.enc.certificate_der,
        }
        return WanProfile(**(fields | changes))  # type: ignore[arg-type]

    # -- TLS -------------------------------------------------------------------------------

    def _tls(self) -> TlsContext:
        if self._context is None:
            own = self.identity.tls
            identity = TlsIdentity(own.certificate_der, own.sign_digest, own.key_pem)
            preset = self.profile.wan_tls.preset
            self._context = server_context(preset, identity, keylog=self._keylog)
        return self._context

    def _judge(self, leaf: bytes) -> str:
        try:
            self._check(leaf, Purpose.TLS)
        except CertificateError as error:
            return str(error)
        return ""

    def _check(self, leaf: bytes, purpose: Purpose) -> None:
        at = self.clock.now().datetime()
        lists = self.pki.revocation_lists(at)
        check_path(load(leaf), [self.pki.sub_ca], self.pki.root, at, purpose=purpose, lists=lists)

    def _note(self, reason: str) -> None:
        self.refused.append(reason)

    # -- deliveries ------------------------------------------------------------------------

    def _handler(self) -> StreamHandler:
        return web_handler(self.clock, self.profile.wan_http, self._push)

    def _push(self, request: Request, certificate: bytes) -> Response | None:
        if self.faults.silent:
            return None
        if self.faults.refuse:
            return Response(self.faults.refuse)
        if request.method != "POST":
            return Response(405)
        if not request.path.startswith(self.poc + "/cosem/ldevs/"):
            return Response(404)
        if not parse_media_type(request.headers.get("content-type", "")).sealed:
            return Response(415)
        gateway = common_name(load(certificate)).partition(".")[0]
        try:
            body, key = self._open(request.body)
            values = read_value_list(body)
            self._accept(request.headers.get("x-cid", ""), gateway, values, key)
        except (CmsError, CosemError, CertificateError) as error:
            self._note(f"{gateway}: {error}")
            return Response(422)
        return Response(200)

    def _open(self, data: bytes) -> tuple[bytes, ec.EllipticCurvePublicKey]:
        """Verify the signature of whoever the SM-PKI has certified, then open."""
        signers = self._signers(data)
        opened = unseal(data, signers, self.identity.opener())
        return opened.content, ec_key(load(signers[opened.signer].certificate))

    def _signers(self, data: bytes) -> dict[bytes, Trust]:
        """Return the signer's certificate out of the message, checked up to the root."""
        trusted = {}
        for der in carried_certificates(data)[:1]:  # the signer's, no chain
            self._check(der, Purpose.SIG)
            trusted[key_id(load(der))] = Trust(der)
        return trusted

    def accept_forwarded(self, envelope: bytes, message_id: str) -> None:
        """Take grid data from the administrator: no signature any more (TR-03109-1 3.2.4.3).

        Raises:
            CmsError, CosemError: it cannot be opened or read.
        """
        opened = open_signed(envelope, b"", self.identity.opener())
        self._accept(message_id, "", read_value_list(opened.content))

    def _accept(
        self,
        message_id: str,
        gateway: str,
        values: ValueList,
        key: ec.EllipticCurvePublicKey | None = None,
    ) -> None:
        """Store a delivery once, whatever number of times it comes (O12)."""
        if self.store.known(message_id):
            self.repeated += 1
            return
        placed: list[Value] = []
        findings: list[Finding] = []
        for column in values.columns:
            raster = raster_of(values.contract, column, self.period_s)
            rows, odd = check_delivery(column, raster)
            if key is not None:
                rows, forged = check_signatures(rows, key, taf_of(values.contract))
                odd += forged
            placed += rows
            findings += odd
        received = self.clock.now().iso()
        self.store.add(message_id, gateway, values.contract, received, placed, findings)
        for column in values.columns:
            raster = raster_of(values.contract, column, self.period_s)
            if not raster.series:
                continue
            mine = [v for v in self.store.values(values.contract) if v.column == column.name]
            self.store.add_substitutes(values.contract, substitutes(mine, raster.period_s))
        self.received += 1
