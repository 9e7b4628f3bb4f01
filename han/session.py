"""Who is behind a connection: certificate first, digest second (HAN-12, consumer manual E-5.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from han.digest import DigestAuthenticator, Verdict
from smgw_emu.core.config import Consumer
from smgw_emu.core.instants import DeviceTime, WorldTime
from smgw_emu.core.logbook import Logbooks
from smgw_emu.profiles import Digest as DigestProfile
from smgw_emu.transport.http import Request, Response, Session


@dataclass(frozen=True, slots=True)
class Login:
    """An authenticated consumer; ``nonce`` is empty for a certificate login."""

    consumer: Consumer
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Not authenticated: what to answer; None means silence."""

    response: Response | None


class Authenticator:
    """Finds the consumer of a request and keeps the access log.

    Args:
        profile: digest behaviour.
        digest: the digest machine.
        consumers: all consumers.
        logbooks: logins and refusals go here.
        device_time: world time -> device time, for log entries.
    """

    def __init__(
        self,
        profile: DigestProfile,
        digest: DigestAuthenticator,
        consumers: Mapping[str, Consumer],
        logbooks: Logbooks,
        device_time: Callable[[WorldTime], DeviceTime],
    ) -> None:
        self._profile = profile
        self._digest = digest
        self._logbooks = logbooks
        self._device_time = device_time
        self._by_fingerprint: dict[str, Consumer] = {}
        self.refresh(consumers)

    def refresh(self, consumers: Mapping[str, Consumer]) -> None:
        """Follow a change of the consumers; nonces and sessions go on."""
        self._by_fingerprint = {
            fingerprint: consumer
            for consumer in consumers.values()
            for fingerprint in consumer.certificates
        }

    def authenticate(self, request: Request, session: Session, now: WorldTime) -> Login | Refusal:
        """Return the login of a request, or what to answer instead."""
        if session.certificate is not None:
            fingerprint = hashlib.sha256(session.certificate).hexdigest()
            known = self._by_fingerprint.get(fingerprint)
            if known is not None:
                self._note_login(session, known, "Zertifikat", now)
                return Login(known)
        header = request.headers.get("authorization")
        result = self._digest.check(header, request.method, request.target, now)
        if result.verdict is Verdict.ACCEPTED and result.consumer is not None:
            self._note_login(session, result.consumer, "Kennung und Passwort", now)
            return Login(result.consumer, result.nonce)
        if result.verdict is Verdict.REFUSED:
            self._note_failure(session, result.consumer, now)
            if self._profile.fail_mode == "empty-200":
                return Refusal(Response(200))
            if self._profile.fail_mode == "silent":
                return Refusal(None)
        stale = result.verdict is Verdict.STALE
        challenge = self._digest.challenge(now, stale=stale)
        return Refusal(Response(401, headers=[("www-authenticate", challenge)]))

    def log_out(self, login: Login, session: Session, now: WorldTime) -> None:
        """End a login (TR-03109-1 v1.0 3.4.4.1: secure log out)."""
        if login.nonce:
            self._digest.log_out(login.nonce)
        session.user = ""
        name = login.consumer.login
        self._logbooks.write("logout", self._device_time(now), consumers=[name], subject=name)

    def _note_login(
        self, session: Session, consumer: Consumer, method: str, now: WorldTime
    ) -> None:
        """Log a login once per connection."""
        if session.user != consumer.login:
            session.user = consumer.login
            self._logbooks.write(
                "login",
                self._device_time(now),
                consumers=[consumer.login],
                subject=consumer.login,
                method=method,
            )

    def _note_failure(self, session: Session, consumer: Consumer | None, now: WorldTime) -> None:
        """Log refusals; on one connection only the 1st, 10th, 100th ... so nobody floods a log."""
        session.failures += 1
        if str(session.failures).strip("0") != "1":
            return
        time = self._device_time(now)
        self._logbooks.write("login-failed", time, outcome="F")
        if consumer is not None:
            named = [consumer.login]
            self._logbooks.write("login-failed-consumer", time, consumers=named, outcome="F")
