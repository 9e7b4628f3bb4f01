"""What an administrator asks of one gateway over MANAGEMENT, typed."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hsm_sim import Purpose
from smgw_emu.bench.pki import TestPki, der
from smgw_emu.core.administration import Record, record_key
from smgw_emu.core.errors import ConfigError, SmgwError
from smgw_emu.transport.http import Answer, Headers
from smgw_emu.transport.web import WebCaller
from wan.admin.contract_object import CONTRACT
from wan.admin.image_object import IMAGES
from wan.admin.log_object import LOGS
from wan.admin.meter_object import METER, ORDERS
from wan.admin.objects import CLOCK, GATEWAY, SETTINGS, SYNCHRONISE, VERSIONS
from wan.admin.profiles import ProfileTable
from wan.admin.proxy_object import ORDERS as PROXY_ORDERS
from wan.admin.proxy_object import PROXY
from wan.admin.security_object import SECURITY
from wan.cosem.classes import load_classes
from wan.cosem.data import Data, array, octets, structure, text
from wan.cosem.documents import (
    MethodResponse,
    read_object_document,
    read_response,
    write_attribute,
    write_request,
)
from wan.cosem.errors import CosemError
from wan.cosem.media import OCTETS, SEALED, Protection, open_body

BLOCK = 65_536  # octets of an image in one request
_EVENTS = "/gwa/cosem/ldevs/{}.sm/objects/1-0000608003ff/methods/2"


class GatewayError(SmgwError):
    """A gateway refused.

    Attributes:
        status: HTTP status.
        reason: what it said.
        element: what was wrong.
    """

    def __init__(self, request: str, status: int, reason: str, element: str = "") -> None:
        at = f" at {element}" if element else ""
        super().__init__(f"{request}: HTTP {status}{at}: {reason or 'no reason given'}")
        self.status = status
        self.reason = reason
        self.element = element


@dataclass(frozen=True, slots=True)
class LogRow:
    """One entry of a log."""

    number: int
    event: str
    level: str
    outcome: str
    subject: str
    message: str


class GatewaySession:
    """One open MANAGEMENT channel.

    Args:
        device: id of the gateway, upper case.
        caller: the HTTP client on it.
        protection: content protection.
        expect: registers a correlation id for an asynchronous answer.
    """

    def __init__(
        self,
        device: str,
        caller: WebCaller,
        protection: Protection,
        expect: Callable[[str], asyncio.Future[MethodResponse]],
    ) -> None:
        self.device = device
        self.caller = caller
        self._protection = protection
        self._expect = expect
        self._profiles = ProfileTable(load_classes())
        self._root = f"/smgw/cosem/ldevs/{device.lower()}.sm"

    # -- plain requests --------------------------------------------------------------------

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Headers | None = None,
    ) -> Answer:
        """Send a request with a sealed body; the answer's body is opened.

        Raises:
            GatewayError: not a 2xx.
            PeerGoneError: the channel ended.
        """
        fields = [("Accept", SEALED), *(headers or [])]
        sealed = body
        if body:
            sealed = self._protection.seal(body)
            fields += [("Content-Type", SEALED), ("Content-Encoding", "deflate")]
        return self._opened(
            f"{method} {path}", await self.caller.call(method, path, fields, sealed)
        )

    def _opened(self, what: str, answer: Answer) -> Answer:
        body = answer.body
        if body and "content-range" not in answer.headers:
            body = open_body(body, answer.headers, self._protection, required=False)
        if answer.status >= 300:
            reason = element = ""
            if body:
                try:
                    reason, element = _reason(read_response(body))
                except CosemError:
                    reason = ""
            raise GatewayError(what, answer.status, reason, element)
        return Answer(answer.status, answer.headers, body)

    async def get(self, path: str) -> bytes:
        """Read a resource."""
        return (await self.request("GET", path)).body

    async def attributes(
        self, class_id: int, name: str, query: str = "", *, ldev: str = ""
    ) -> dict[str, Any]:
        """Read an object, by default of the management logical device: attribute name -> value."""
        root = f"/smgw/cosem/ldevs/{ldev}" if ldev else self._root
        path = f"{root}/objects/{class_id}-{name}{query}"
        item = read_object_document(await self.get(path))
        spec = load_classes()[class_id]
        return {
            spec.attributes[index].name: data.value
            for index, data in item.attributes.items()
            if index in spec.attributes
        }

    async def call(
        self, class_id: int, name: str, index: int, data: Data | None = None, *, ldev: str = ""
    ) -> MethodResponse:
        """Run a method.

        Raises:
            GatewayError: refused, or its status is not 0.
        """
        root = f"/smgw/cosem/ldevs/{ldev}" if ldev else self._root
        path = f"{root}/objects/{class_id}-{name}/methods/{index}"
        answer = await self.request("POST", path, write_request(data) if data else b"")
        return read_response(answer.body) if answer.body else MethodResponse(0)

    async def call_later(
        self, class_id: int, name: str, index: int, *, ldev: str = ""
    ) -> MethodResponse:
        """Run a method whose answer comes over ADMIN-SERVICE (Anlage II 7.5)."""
        cid = f"uuid:{uuid.uuid4()}"
        contact = _EVENTS.format(self.device.lower())
        waiting = self._expect(cid)
        root = f"/smgw/cosem/ldevs/{ldev}" if ldev else self._root
        path = f"{root}/objects/{class_id}-{name}/methods/{index}"
        headers = [("x-CID", cid), ("x-ContactURI", f"https://gwa{contact}")]
        answer = await self.request("POST", path, headers=headers)
        if answer.status != 202:
            waiting.cancel()
            return read_response(answer.body) if answer.body else MethodResponse(0)
        return await waiting

    # -- what a lab wants --------------------------------------------------------------------

    async def info(self) -> dict[str, Any]:
        """Read the device information."""
        return await self.attributes(65001, GATEWAY)

    async def clock(self) -> dict[str, Any]:
        """Read the clock object."""
        return await self.attributes(8, CLOCK)

    async def set_clock(self, method: str, interval_s: int) -> None:
        """Choose NTP-TLS or NTP-HTTPS, and how often."""
        path = f"{self._root}/objects/8-{CLOCK}/attributes"
        await self.request("PUT", f"{path}/-1", write_attribute(-1, text(method)))
        interval = Data("double-long-unsigned", interval_s)
        await self.request("PUT", f"{path}/-2", write_attribute(-2, interval))

    async def set_parameter(self, index: int, data: Data) -> None:
        """Set an attribute of the settings object."""
        path = f"{self._root}/objects/65002-{SETTINGS}/attributes/{index}"
        await self.request("PUT", path, write_attribute(index, data))

    async def put_profile(
        self, kind: str, record: Record, secrets: dict[str, bytes] | None = None
    ) -> bool:
        """Put a profile in force; returns whether it is new."""
        body = self._profiles.write(kind, record, secrets or {})
        answer = await self.request("PUT", self._container(kind, record), body)
        return answer.status == 201

    async def get_profile(self, kind: str, record: Record) -> bytes:
        """Read a profile's container."""
        return await self.get(self._container(kind, record))

    async def delete_profile(self, kind: str, record: Record) -> None:
        """Remove a profile."""
        await self.request("DELETE", self._container(kind, record))

    def _container(self, kind: str, record: Record) -> str:
        ldev = record_key(kind, record) or self.device.lower()
        return f"/smgw/cosem/ldevs/{ldev}.sm/containers/{self._profiles.container_id(kind, record)}"

    async def new_certificates(self, pki: TestPki) -> dict[str, bytes]:
        """Renew the gateway's triple: keys, request, answer of the PKI, installation (H03)."""
        await self.call(64, SECURITY, 4)
        answer = await self.call(64, SECURITY, 5)
        assert answer.data is not None
        assert isinstance(answer.data.value, bytes)
        issued = pki.answer(answer.data.value)
        triple = {purpose.lower(): der(issued[purpose]) for purpose in Purpose}
        documents = [*triple.values(), der(pki.sub_ca)]
        await self.call(64, SECURITY, 6, array(*(octets(item) for item in documents)))
        return triple

    async def read_log(self, log: str, since: str = "") -> list[LogRow]:
        """Read the system or calibration log."""
        name = next(obis for obis, kind in LOGS.items() if kind == log)
        query = f"?q.fromtime={since}" if since else ""
        found = await self.attributes(7, name, query)
        return [
            LogRow(row.value[0].value, *(row.value[n].value for n in (2, 3, 4, 5, 6)))
            for row in found["buffer"]
        ]

    async def read_now(self, contract: str) -> int:
        """Have the newest values of a contract delivered (GW-45); returns how many messages."""
        return int(await self._ask(contract, 1))

    async def switch(self, contract: str, stage: int, at: str, until: str) -> str:
        """Send a tariff switching instruction (TAF5); returns when it is due."""
        data = structure(Data("long64", stage), text(at), text(until))
        return await self._ask(contract, 2, data)

    async def control(self, contract: str, level: int) -> str:
        """Give a control signal (TAF11); returns when it is recorded."""
        return await self._ask(contract, 3, structure(Data("long64", level)))

    async def capture(self, contract: str) -> str:
        """Have a contract's meters registered now (TAF16); returns the target time."""
        return await self._ask(contract, 4)

    async def read_day(self, contract: str, day: str) -> int:
        """Have the daily values of a date delivered (TAF6); returns how many messages."""
        return int(await self._ask(contract, 5, structure(text(day))))

    async def _ask(self, contract: str, method: int, data: Data | None = None) -> str:
        answer = await self.call(65003, CONTRACT, method, data, ldev=f"{contract}.sm")
        return str(answer.data.value) if answer.data else "0"

    async def versions(self) -> list[dict[str, Any]]:
        """Read every version of every profile (GW-41)."""
        found = await self.attributes(65004, VERSIONS)
        names = ("kind", "name", "version", "began", "ended", "state")
        return [
            dict(zip(names, (item.value for item in row.value), strict=True))
            for row in found["versions"]
        ]

    async def meter_state(self, meter: str) -> dict[str, Any]:
        """Read state and HDLC address of a wired meter."""
        shown = await self.attributes(65005, METER, ldev=f"{meter.lower()}.sm")
        return {name: shown[name] for name in ("state", "address")}

    async def meter_order(self, meter: str, order: str) -> MethodResponse:
        """Give a wired meter an order by name; the answer comes over ADMIN-SERVICE.

        Raises:
            ConfigError: no such order.
        """
        numbers = {name: number for number, name in ORDERS.items()}
        if order not in numbers:
            raise ConfigError(f"no order {order!r}; there are: {', '.join(numbers)}")
        ldev = f"{meter.lower()}.sm"
        return await self.call_later(65005, METER, numbers[order], ldev=ldev)

    async def proxy_state(self, proxy: str) -> dict[str, Any]:
        """Read whether a proxy profile has a channel."""
        shown = await self.attributes(65006, PROXY, ldev=f"{proxy}.sm")
        channels = [str(item.value) for item in shown["channels"]]
        return {"state": shown["state"], "channels": channels}

    async def proxy_order(self, proxy: str, order: str) -> MethodResponse:
        """Connect or disconnect a proxy profile (HKS4); the answer comes over ADMIN-SERVICE.

        Raises:
            ConfigError: no such order.
        """
        numbers = {name: number for number, name in PROXY_ORDERS.items()}
        if order not in numbers:
            raise ConfigError(f"no order {order!r}; there are: {', '.join(numbers)}")
        return await self.call_later(65006, PROXY, numbers[order], ldev=f"{proxy}.sm")

    async def synchronise(self) -> None:
        """Have the gateway set its clock now, whatever the deviation (SEC-14)."""
        await self.call(8, CLOCK, SYNCHRONISE)

    async def self_test(self) -> MethodResponse:
        """Run a self-test and wait for its result."""
        return await self.call_later(65001, GATEWAY, 1)

    async def decommission(self) -> None:
        """End every contract (GW-28)."""
        await self.call(65001, GATEWAY, 2, text(self.device))

    async def dispose(self) -> None:
        """Destroy the keys of a decommissioned gateway (GW-31)."""
        await self.call(65001, GATEWAY, 3, text(self.device))

    async def load_firmware(
        self, name: str, image: bytes, progress: Callable[[int, int], None] = lambda _a, _b: None
    ) -> None:
        """Load an image in blocks; goes on where a broken transfer stopped."""
        path, total = f"/smgw/firmware/{name}", len(image)
        first = 0
        state = await self.caller.call("GET", path)
        if state.status == 204:
            first = int(state.headers["range"].rpartition("-")[2]) + 1
        first = first if first < total else 0
        while first < total:
            block = image[first : first + BLOCK]
            headers = [
                ("Content-Type", OCTETS),
                ("Content-Range", f"bytes {first}-{first + len(block) - 1}/{total}"),
            ]
            self._opened(f"PUT {path}", await self.caller.call("PUT", path, headers, block))
            first += len(block)
            progress(first, total)

    async def verify_firmware(self, name: str, image: bytes) -> None:
        """Compare an image with its SHA-256."""
        digest = hashlib.sha256(image).digest()
        await self.call(18, IMAGES, 3, structure(text(name), octets(digest)))

    async def activate_firmware(self, name: str, moment: str = "") -> None:
        """Activate a verified image."""
        await self.call(18, IMAGES, 4, structure(text(name), text(moment)))


def _reason(response: MethodResponse) -> tuple[str, str]:
    data = response.data
    if data is None:
        return "", ""
    if isinstance(data.value, tuple) and len(data.value) == 2:
        return str(data.value[0].value), str(data.value[1].value)
    return str(data.value), ""
