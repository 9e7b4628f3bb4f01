"""A consumer's client of IF_GW_CON on httpx: what ``smgw han`` and the demo use.

Follows the entry point as the interface description says: GET on the root, 307, then POST to the
relative location (``han-m2m.md`` 4).
"""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from smgw_emu.core.errors import SmgwError

ROOT = "/smgw/m2m"


class HanClientError(SmgwError):
    """The gateway cannot be reached, or refused; the text says which."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def client_context(ca: Path | None = None, p12: tuple[Path, str] | None = None) -> ssl.SSLContext:
    """Return a TLS 1.2 client context.

    Args:
        ca: PEM of the one certificate to trust (names are not compared: it is self-signed for a
            device id); None trusts anything.
        p12: file and password of a client certificate.

    Raises:
        HanClientError: a file cannot be read, or the password is wrong.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    try:
        if ca is None:
            context.verify_mode = ssl.CERT_NONE
        else:
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | 0x200000  # no time check
            context.load_verify_locations(cafile=str(ca))
        if p12 is not None:
            _load_p12(context, *p12)
    except (OSError, ValueError) as error:
        raise HanClientError(f"cannot use the certificate file: {error}") from error
    return context


def _load_p12(context: ssl.SSLContext, path: Path, password: str) -> None:
    key, certificate, _ = pkcs12.load_key_and_certificates(path.read_bytes(), password.encode())
    if key is None or certificate is None:
        raise ValueError(f"{path} holds no key with certificate")
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with tempfile.NamedTemporaryFile(prefix="smgw-") as file:  # mode 0600
        file.write(pem + certificate.public_bytes(serialization.Encoding.PEM))
        file.flush()
        context.load_cert_chain(file.name)


class HanClient:
    """One consumer at one gateway.

    Args:
        base_url: ``https://host:port``.
        context: from :func:`client_context`.
        login: user and password for digest; None with a client certificate.
        timeout_s: per request.
    """

    def __init__(
        self,
        base_url: str,
        context: ssl.SSLContext,
        login: tuple[str, str] | None = None,
        timeout_s: float = 20,
    ) -> None:
        auth = httpx.DigestAuth(*login) if login is not None else None
        self._client = httpx.AsyncClient(
            base_url=base_url, verify=context, auth=auth, timeout=timeout_s, trust_env=False
        )
        self._location = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method; returns the whole answer.

        Raises:
            HanClientError: not reachable, not authenticated, refused, or no JSON.
        """
        if not self._location:
            self._location = await self._enter()
        body = {name.replace("_", "-"): value for name, value in parameters.items()}
        response = await self._send("POST", self._location, {**body, "method": method})
        if response.status_code != 200:
            raise HanClientError(_meaning(response.status_code, method), response.status_code)
        try:
            answer = response.json()
        except ValueError as error:
            raise HanClientError("the gateway's answer is no JSON") from error
        if not isinstance(answer, dict):
            raise HanClientError("the gateway's answer is no JSON object")
        return answer

    async def _enter(self) -> str:
        response = await self._send("GET", ROOT)
        location = response.headers.get("location", "")
        if response.status_code != 307 or not location.startswith("/"):
            raise HanClientError(_meaning(response.status_code, ROOT), response.status_code)
        return str(location)

    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> httpx.Response:
        try:
            if body is None:
                return await self._client.request(method, path)
            # exactly this content type: with a charset real gateways answer 400 (han-m2m.md 3)
            headers = {"content-type": "application/json"}
            return await self._client.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise HanClientError(f"cannot reach {self._client.base_url}: {reason}") from error


def _meaning(status: int, what: str) -> str:
    texts = {
        400: "the gateway says the request is wrong (400)",
        401: "the gateway does not accept the login (401)",
        403: "refused: a self-test runs, or the last one was less than 600 s ago (403)",
        404: "the gateway has no such path (404)",
        500: "internal error of the gateway (500)",
    }
    return f"{what}: {texts.get(status, f'unexpected answer {status}')}"
