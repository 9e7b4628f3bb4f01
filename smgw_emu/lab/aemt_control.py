"""The running active EMT's control service: what ``smgw aemt switch`` talks to. Loopback only.

``POST /v1/switch?device=ID&proxy=NAME`` with an order of :mod:`smgw_emu.bench.cls.words` as body;
``GET /v1/channels``. Coordination: ``POST /v1/request`` (device, proxy, actor, watts, seconds, at,
vnb), ``PUT /v1/light?light=``, ``GET /v1/notices``.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from smgw_emu.bench.cls.coordination import Light, Notice
from smgw_emu.bench.cls.coordination import Request as Wish
from smgw_emu.bench.cls.desk import Decision, Desk
from smgw_emu.bench.cls.management import Action, ClsManagement
from smgw_emu.bench.cls.words import read_order
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import SECOND
from smgw_emu.lab.control import HttpService

_MAX_BODY = 65_536


class AemtControl:
    """The service of one active EMT.

    Args:
        aemt: whom it controls.
        host: a loopback address.
        port: TCP port.
    """

    def __init__(self, aemt: ClsManagement, host: str, port: int) -> None:
        self._aemt = aemt
        self._desk = Desk(aemt)
        app = Starlette(
            routes=[
                Route("/v1/switch", self._switch, methods=["POST"]),
                Route("/v1/channels", self._channels, methods=["GET"]),
                Route("/v1/request", self._request, methods=["POST"]),
                Route("/v1/light", self._light, methods=["PUT"]),
                Route("/v1/notices", self._notices, methods=["GET"]),
            ],
            middleware=[
                Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
            ],
        )
        self._service = HttpService(app, host, port)

    async def start(self) -> str:
        """Listen; returns the base URL."""
        return await self._service.start()

    async def stop(self) -> None:
        """Stop."""
        await self._service.stop()

    async def _channels(self, _request: Request) -> Response:
        return JSONResponse(sorted(self._aemt.links))

    async def _switch(self, request: Request) -> Response:
        body = await request.body()
        query = request.query_params
        try:
            if len(body) > _MAX_BODY or not query.get("device") or not query.get("proxy"):
                raise SmgwError("device and proxy, and an order as body, are needed")
            action = await self._aemt.switch(query["device"], query["proxy"], read_order(body))
        except SmgwError as error:
            return JSONResponse({"error": str(error)}, status_code=409)
        return JSONResponse(_action(action))

    # -- coordination ----------------------------------------------------------------------

    async def _request(self, request: Request) -> Response:
        query, now = request.query_params, self._aemt.clock.now()
        try:
            begin = now + int(query.get("at", "0")) * SECOND
            end = begin + int(query["seconds"]) * SECOND
            vnb = query.get("vnb") == "true"
            wish = Wish(query["actor"], int(query["watts"]), begin, end, vnb)
            found = await self._desk.request(query["device"], query["proxy"], wish)
        except (SmgwError, ValueError, KeyError) as error:
            return JSONResponse({"error": str(error)}, status_code=409)
        return JSONResponse(_decision(found))

    async def _light(self, request: Request) -> Response:
        try:
            found = await self._desk.set_light(Light(request.query_params.get("light", "")))
        except (SmgwError, ValueError) as error:
            return JSONResponse({"error": str(error)}, status_code=409)
        return JSONResponse({" ".join(key): _decision(made) for key, made in found.items()})

    async def _notices(self, _request: Request) -> Response:
        rows = [{"plant": " ".join(key)} | _notice(note) for key, note in self._desk.notices()]
        return JSONResponse(rows)


def _action(action: Action) -> dict[str, Any]:
    begun = action.steps[0][1]
    return {
        "gateway": action.gateway,
        "steps": [[name, (moment - begun) / SECOND] for name, moment in action.steps],
        "seconds": action.seconds,
        "in_budget": action.in_budget,
        "answer": msgspec.to_builtins(action.answer),
    }


def _decision(made: Decision) -> dict[str, Any]:
    return {
        "actor": made.actor,
        "watts": made.watts,
        "action": None if made.action is None else _action(made.action),
        "notices": [_notice(item) for item in made.notices],
    }


def _notice(notice: Notice) -> dict[str, Any]:
    return {
        "time": notice.moment.iso(),
        "actor": notice.actor,
        "by": notice.by,
        "reason": notice.reason,
    }
