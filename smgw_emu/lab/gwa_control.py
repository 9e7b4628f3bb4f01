"""The running administrator's control service: what ``smgw gwa`` commands talk to.

HTTP on loopback only. Long work answers with one JSON object per line, the last one
``{"done": true}`` or ``{"error": ...}``. Resources below ``/v1``:

* ``GET gateways``, ``GET history?device=&count=``, ``GET events?device=``
* ``POST note`` - a delivery note as body
* ``POST wakeup``, ``GET info``, ``GET logs/{system|calibration}?since=`` (``?device=ID`` each)
* ``POST commission?device=ID`` - a plan as body (msgspec JSON of :class:`Order`)
* ``PUT profile``, ``DELETE profile`` - kind, record, secrets
* ``POST firmware?device=&name=&activate=`` - the image as body
* ``GET``, ``PUT``, ``DELETE permit?aemt=&device=&proxy=``, ``GET``, ``POST channel?device=&proxy=``
* ``POST read``, ``POST self-test``, ``POST decommission``, ``POST clock``, ``POST resync``
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from smgw_emu.bench.gwa import Administrator, DeliveryNote, GatewaySession
from smgw_emu.bench.gwa.cls_access import ClsAccess
from smgw_emu.bench.gwa.commission import Commissioning, CommissionPlan, Step
from smgw_emu.core.administration import Record
from smgw_emu.core.errors import SmgwError
from smgw_emu.lab.control import HttpService
from smgw_emu.lab.plan import KINDS

_log = structlog.get_logger("gwa")
MAX_BODY = 300 << 20  # an image
Told = Callable[[dict[str, Any]], None]


class ProfileOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``PUT`` and ``DELETE profile``; octets in base64."""

    kind: str
    record: dict[str, Any]
    secrets: dict[str, bytes] = {}


class GwaControl:
    """The service of one administrator.

    Args:
        administrator: whom it controls.
        host: a loopback address.
        port: TCP port.
        access: who may ask for CLS channels.
    """

    def __init__(
        self, administrator: Administrator, host: str, port: int, access: ClsAccess | None = None
    ) -> None:
        self._gwa = administrator
        self._access = access or ClsAccess(administrator)
        hosts = ["127.0.0.1", "localhost", "[::1]"]
        app = Starlette(
            routes=self._routes(),
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
        )
        self._service = HttpService(app, host, port)

    async def start(self) -> str:
        """Listen; returns the base URL."""
        return await self._service.start()

    async def stop(self) -> None:
        """Stop."""
        await self._service.stop()

    def _routes(self) -> list[Route]:
        plain: list[tuple[str, str, Callable[[Request], Awaitable[Any]]]] = [
            ("/v1/gateways", "GET", self._gateways),
            ("/v1/history", "GET", self._history),
            ("/v1/events", "GET", self._events),
            ("/v1/note", "POST", self._note),
            ("/v1/wakeup", "POST", self._wakeup),
            ("/v1/info", "GET", self._info),
            ("/v1/logs/{log}", "GET", self._logs),
            ("/v1/profile", "PUT", self._put_profile),
            ("/v1/profile", "DELETE", self._delete_profile),
            ("/v1/read", "POST", self._read),
            ("/v1/day", "POST", self._day),
            ("/v1/switch", "POST", self._switch),
            ("/v1/control", "POST", self._control),
            ("/v1/capture", "POST", self._capture),
            ("/v1/versions", "GET", self._versions),
            ("/v1/self-test", "POST", self._self_test),
            ("/v1/meter", "GET", self._meter_state),
            ("/v1/meter", "POST", self._meter_order),
            ("/v1/clock", "POST", self._clock),
            ("/v1/resync", "POST", self._resync),
            ("/v1/decommission", "POST", self._decommission),
            ("/v1/permit", "GET", self._permitted),
            ("/v1/permit", "PUT", self._permit),
            ("/v1/permit", "DELETE", self._withdraw),
            ("/v1/channel", "GET", self._channel_state),
            ("/v1/channel", "POST", self._channel),
        ]
        routes = [Route(path, _json(work), methods=[verb]) for path, verb, work in plain]
        streams = [
            ("/v1/commission", self._commission),
            ("/v1/firmware", self._firmware),
        ]
        routes += [Route(path, _lines(work), methods=["POST"]) for path, work in streams]
        return routes

    # -- registry --------------------------------------------------------------------------

    async def _gateways(self, _request: Request) -> Any:
        return [
            {
                "id": known.id,
                "state": known.state,
                "generation": known.generation,
                "wakeup": known.wakeup,
                "management": known.id in self._gwa.sessions,
            }
            for known in self._gwa.registry.devices()
        ]

    async def _history(self, request: Request) -> Any:
        query = request.query_params
        return self._gwa.registry.history(query.get("device", ""), int(query.get("count", "50")))

    async def _events(self, request: Request) -> Any:
        return self._gwa.registry.events(request.query_params.get("device", ""))

    async def _note(self, request: Request) -> Any:
        note = msgspec.json.decode(await _body(request), type=DeliveryNote)
        self._gwa.import_note(note)
        return {"imported": [device.id for device in note.devices]}

    def _device(self, request: Request) -> str:
        return self._gwa.registry.device(request.query_params["device"]).id

    async def _session(self, request: Request) -> GatewaySession:
        return await self._gwa.session(self._device(request), timeout_s=30)

    # -- one gateway -----------------------------------------------------------------------

    async def _wakeup(self, request: Request) -> Any:
        device = self._device(request)
        address = request.query_params.get("to", "")
        if address:
            self._gwa.registry.set_wakeup(device, address)
        self._gwa.wake_up(device)
        return {"sent": self._gwa.registry.device(device).wakeup}

    async def _info(self, request: Request) -> Any:
        info = await (await self._session(request)).info()
        return {name: _plain(value) for name, value in info.items() if name != "logical_name"}

    async def _logs(self, request: Request) -> Any:
        session = await self._session(request)
        since = request.query_params.get("since", "")
        rows = await session.read_log(request.path_params["log"], since)
        return [
            {"number": r.number, "event": r.event, "level": r.level, "outcome": r.outcome,
             "subject": r.subject, "message": r.message}
            for r in rows
        ]  # fmt: skip

    async def _put_profile(self, request: Request) -> Any:
        order, record = await self._order(request)
        session = await self._session(request)
        new = await session.put_profile(order.kind, record, order.secrets)
        return {"status": "added" if new else "changed"}

    async def _delete_profile(self, request: Request) -> Any:
        order, record = await self._order(request)
        await (await self._session(request)).delete_profile(order.kind, record)
        return {"status": "removed"}

    async def _order(self, request: Request) -> tuple[ProfileOrder, Record]:
        order = msgspec.json.decode(await _body(request), type=ProfileOrder)
        if order.kind not in KINDS:
            raise SmgwError(f"no profile kind {order.kind!r}")
        return order, msgspec.convert(order.record, KINDS[order.kind])

    async def _read(self, request: Request) -> Any:
        contract = request.query_params["contract"]
        return {"messages": await (await self._session(request)).read_now(contract)}

    async def _day(self, request: Request) -> Any:
        query = request.query_params
        session = await self._session(request)
        return {"messages": await session.read_day(query["contract"], query["date"])}

    async def _switch(self, request: Request) -> Any:
        query = request.query_params
        session = await self._session(request)
        due = await session.switch(
            query["contract"], int(query["stage"]), query.get("at", ""), query["until"]
        )
        return {"due": due}

    async def _control(self, request: Request) -> Any:
        query = request.query_params
        session = await self._session(request)
        return {"recorded": await session.control(query["contract"], int(query["level"]))}

    async def _capture(self, request: Request) -> Any:
        session = await self._session(request)
        return {"target": await session.capture(request.query_params["contract"])}

    async def _versions(self, request: Request) -> Any:
        return await (await self._session(request)).versions()

    async def _meter_state(self, request: Request) -> Any:
        session = await self._session(request)
        return await session.meter_state(request.query_params["meter"])

    async def _meter_order(self, request: Request) -> Any:
        query = request.query_params
        session = await self._session(request)
        answer = await session.meter_order(query["meter"], query["order"])
        result = answer.data.value if answer.data is not None else ""
        return {"status": answer.status, "result": result}

    # -- CLS channels ----------------------------------------------------------------------

    async def _permitted(self, _request: Request) -> Any:
        return self._access.permitted()

    async def _permit(self, request: Request) -> Any:
        query = request.query_params
        self._access.permit(query["aemt"], self._device(request), query["proxy"])
        return {"status": "permitted"}

    async def _withdraw(self, request: Request) -> Any:
        query = request.query_params
        self._access.withdraw(query["aemt"], self._device(request), query["proxy"])
        return {"status": "withdrawn"}

    async def _channel_state(self, request: Request) -> Any:
        session = await self._session(request)
        return await session.proxy_state(request.query_params["proxy"])

    async def _channel(self, request: Request) -> Any:
        """Open or close a channel; with ``aemt`` it is that participant who asks."""
        query = request.query_params
        if "aemt" in query:
            refused = await self._access.ask(query["aemt"], query["device"], query["proxy"])
            return {"refused": refused}
        session = await self._session(request)
        answer = await session.proxy_order(query["proxy"], query.get("order", "connect"))
        result = str(answer.data.value) if answer.data is not None else ""
        return {"status": answer.status, "result": result}

    async def _self_test(self, request: Request) -> Any:
        answer = await (await self._session(request)).self_test()
        return {"status": answer.status, "result": _plain(answer.data.value) if answer.data else ""}

    async def _resync(self, request: Request) -> Any:
        await (await self._session(request)).synchronise()
        return {"synchronisation": "ordered"}

    async def _clock(self, request: Request) -> Any:
        query = request.query_params
        session = await self._session(request)
        await session.set_clock(query.get("method", "NTP-TLS"), int(query.get("interval", "3600")))
        clock = await session.clock()
        return {name: _plain(value) for name, value in clock.items() if name != "logical_name"}

    async def _decommission(self, request: Request) -> Any:
        await (await self._session(request)).decommission()
        self._gwa.registry.set_state(self._device(request), "decommissioned")
        return {"status": "decommissioned"}

    # -- long work -------------------------------------------------------------------------

    async def _commission(self, request: Request, body: bytes, say: Told) -> None:
        plan = msgspec.json.decode(body, type=CommissionPlan)

        def told(step: Step) -> None:
            say(msgspec.to_builtins(step))

        await Commissioning(self._gwa, self._device(request), plan, told).run()

    async def _firmware(self, request: Request, image: bytes, say: Told) -> None:
        query = request.query_params
        session = await self._session(request)
        name = query["name"]
        await session.load_firmware(
            name, image, lambda have, total: say({"loaded": have, "of": total})
        )
        await session.verify_firmware(name, image)
        say({"verified": name})
        if "activate" in query:
            await session.activate_firmware(name, query["activate"])
            say({"activation": query["activate"] or "now"})


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(getattr(item, "value", item)) for item in value]
    return value


async def _body(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise SmgwError(f"body longer than {MAX_BODY} octets")
    return bytes(data)


def _refused(request: Request) -> str:
    """Web pages must not give orders."""
    return "web pages must not give orders" if "origin" in request.headers else ""


def _json(work: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        refused = _refused(request)
        if refused:
            return JSONResponse({"error": refused}, 400)
        try:
            return JSONResponse(await work(request))
        except KeyError as error:
            return JSONResponse({"error": f"parameter {error} is missing"}, 400)
        except (SmgwError, msgspec.MsgspecError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        except Exception as error:  # noqa: BLE001  # any fault of ours is an answer
            _log.exception("order failed", path=request.url.path)
            return JSONResponse({"error": f"internal: {error}"}, 500)

    return endpoint


def _lines(
    work: Callable[[Request, bytes, Told], Awaitable[None]],
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if _refused(request):
            return JSONResponse({"error": _refused(request)}, 400)
        body = await _body(request)  # before the answer begins: it listens on the same channel
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        task = asyncio.ensure_future(_finish(work(request, body, queue.put_nowait), queue))

        async def lines() -> AsyncIterator[bytes]:
            while (item := await queue.get()) is not None:
                yield msgspec.json.encode(item) + b"\n"
            await task

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    return endpoint


async def _finish(work: Awaitable[None], queue: asyncio.Queue[dict[str, Any] | None]) -> None:
    try:
        await work
        queue.put_nowait({"done": True})
    except KeyError as error:
        queue.put_nowait({"error": f"parameter {error} is missing"})
    except (SmgwError, msgspec.MsgspecError, ValueError) as error:
        queue.put_nowait({"error": str(error)})
    except Exception as error:  # noqa: BLE001  # same
        _log.exception("order failed")
        queue.put_nowait({"error": f"internal: {error}"})
    queue.put_nowait(None)
