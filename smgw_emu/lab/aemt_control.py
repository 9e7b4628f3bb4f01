"""The running active EMT's control service: what ``smgw aemt switch`` talks to. Loopback only.

``POST /v1/switch?device=ID&proxy=NAME`` with an order of :mod:`smgw_emu.bench.cls.words` as body;
``GET /v1/channels``.
"""

from __future__ import annotations

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from smgw_emu.bench.cls.management import ClsManagement
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
        app = Starlette(
            routes=[
                Route("/v1/switch", self._switch, methods=["POST"]),
                Route("/v1/channels", self._channels, methods=["GET"]),
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
        begun = action.steps[0][1]
        return JSONResponse(
            {
                "gateway": action.gateway,
                "steps": [[name, (moment - begun) / SECOND] for name, moment in action.steps],
                "seconds": action.seconds,
                "in_budget": action.in_budget,
                "answer": msgspec.to_builtins(action.answer),
            }
        )
