"""The control endpoint: what a lab sees and moves, never part of a device interface (SEC-51).

HTTP on loopback only. Resources below ``/v1``:

* ``GET health`` - liveness
* ``GET state`` - phase, secure state and cause, clock, meters, self-test, store, keys
* ``GET secure-state`` - state, causes, every transition with its time
* ``GET leds`` - lamps now and the recorded edges; ``GET leds/stream`` - one JSON line per edge
* ``GET logs/{system|calibration|consumer}?reader=LOGIN&count=N`` - newest entries
* ``GET module?since=N`` - key slots and files of the security module, its command log
* ``GET clock``, ``POST clock`` - ``{"speed": 60}``, ``{"pause": true}``, ``{"advance_s": 900}``,
  ``{"device_offset_ms": 5000, "device_valid": false}``
* ``POST link`` - ``{"ethernet": false}``, ``{"modem": "kein-empfang"}``: the WAN below IP;
  ``{"han": false}``, ``{"cls": true}``: cables in the ports
* ``POST network`` - ``{"joined": true}``: a cable joins WAN and HAN; the next self-test sees it
* ``POST events`` - ``{"count": 10000, "seconds": 5}``: a burst of security events
* ``GET firmware``, ``POST firmware`` - partitions and update; ``{"corrupt": {"partition": "a",
  "image": "kernel"}}``, ``{"swap": true}``
* ``POST lmn`` - ``{"meter": ID, "order": "information"}``: an order to a wired meter, with its
  result; ``{"port": NAME, "load_ma": 400}``: load on the 12 V output of a wired LMN port
* ``POST power`` - ``{"action": "off" | "on" | "cycle" | "cut"}``, ``{"voltage": 180}``,
  ``{"rtc_battery": false}``
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from hardware.lamps.sink import recording_of
from smgw_emu import __version__
from smgw_emu.core.config import Link
from smgw_emu.core.errors import ConfigError, SmgwError
from smgw_emu.core.instants import DAY, SECOND, WorldTime
from smgw_emu.core.leds import Leds, leds
from smgw_emu.gateway import Gateway
from smgw_emu.lab import trials
from smgw_emu.lab.state import gateway_state, lamps_json, log_json
from smgw_emu.transport.clock import VirtualClock

MAX_ADVANCE_S = 400 * DAY // SECOND
MAX_LOAD_MA = 100_000
MAX_WAITING = 1000  # edges a slow client of the stream may be behind
MAX_BODY = 65_536  # own choice, like MAX_ADVANCE_S: more than a year in one order
_LOGS = ("system", "calibration", "consumer")


class ClockOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST clock``; the members are carried out in this order.

    ``device_offset_ms`` sets the gateway's own clock to world time plus this, ``device_valid`` says
    whether it may trust it, ``device_drift_ppb`` how fast it runs away.
    """

    device_offset_ms: int | None = None
    device_drift_ppb: int | None = None
    device_valid: bool | None = None
    speed: float | None = None
    pause: bool | None = None
    advance_s: float | None = None


class LmnOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST lmn``: an order to a meter, or a load on a port's supply ("": all ports)."""

    meter: str = ""
    order: str = ""
    port: str = ""
    load_ma: int | None = None


class HttpService:
    """uvicorn on a loopback address.

    Args:
        app: what it serves.
        host: a loopback address.
        port: TCP port, 0 for a free one.

    Raises:
        ConfigError: not a loopback address.
    """

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        if not _is_loopback(host):
            raise ConfigError(f"the control endpoint listens on loopback only, not on {host}")
        self._app = app
        self._address = (host, port)
        self._task: asyncio.Task[None] | None = None
        self._server: _Uvicorn | None = None

    async def start(self) -> str:
        """Listen; returns the base URL.

        Raises:
            SmgwError: the address is in use.
        """
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(self._address)
            listener.listen(128)
        except OSError as error:
            listener.close()
            where = f"{self._address[0]}:{self._address[1]}"
            raise SmgwError(f"control cannot listen on {where}: {error.strerror}") from error
        config = uvicorn.Config(
            self._app, log_config=None, access_log=False, lifespan="off", http="h11", ws="none"
        )
        self._server = _Uvicorn(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        bound = listener.getsockname()
        host = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        return f"http://{host}:{bound[1]}/v1"

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = self._server.force_exit = True
            await self._task
            self._server = self._task = None


class ControlServer:
    """The endpoint of one gateway.

    Args:
        gateway: whom it controls.
        host: a loopback address.
        port: TCP port, 0 for a free one.

    Raises:
        ConfigError: not a loopback address.
    """

    def __init__(self, gateway: Gateway, host: str, port: int) -> None:
        self._gateway = gateway
        self._address = (host, port)
        self._resume_speed = 1.0
        self._service = HttpService(self._app(), host, port)
        self.url = ""

    async def start(self) -> str:
        """Listen; returns the base URL.

        Raises:
            SmgwError: the address is in use.
        """
        self.url = await self._service.start()
        return self.url

    async def stop(self) -> None:
        """Stop listening."""
        await self._service.stop()

    def _app(self) -> Starlette:
        routes = [
            Route("/v1/health", self._route(self._health)),
            Route("/v1/state", self._route(self._state)),
            Route("/v1/secure-state", self._route(self._secure_state)),
            Route("/v1/leds", self._route(self._leds)),
            Route("/v1/leds/stream", self._stream),
            Route("/v1/logs/{log}", self._route(self._logs)),
            Route("/v1/module", self._route(self._module)),
            Route("/v1/clock", self._route(self._clock_get), methods=["GET"]),
            Route("/v1/clock", self._route(self._clock_set), methods=["POST"]),
            Route("/v1/link", self._route(self._link), methods=["POST"]),
            Route("/v1/lmn", self._route(self._lmn), methods=["POST"]),
            Route("/v1/network", self._route(self._network), methods=["POST"]),
            Route("/v1/events", self._route(self._events), methods=["POST"]),
            Route("/v1/firmware", self._route(self._firmware_get), methods=["GET"]),
            Route("/v1/firmware", self._route(self._firmware_set), methods=["POST"]),
            Route("/v1/power", self._route(self._power), methods=["POST"]),
        ]
        # a web page elsewhere must not reach the lab through a rebound name
        hosts = ["127.0.0.1", "localhost", "[::1]", self._address[0]]
        return Starlette(
            routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)]
        )

    def _route(
        self, handler: Callable[[Request], Awaitable[dict[str, Any]]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            status = 200
            try:
                if request.method != "GET" and "origin" in request.headers:
                    raise SmgwError("web pages must not give orders")
                answer = await handler(request)
            except (SmgwError, msgspec.MsgspecError, ValueError) as error:
                status, answer = 400, {"error": str(error)}
            body = msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n"
            return Response(body, status, media_type="application/json")

        return endpoint

    # -- resources -------------------------------------------------------------------------

    async def _health(self, _request: Request) -> dict[str, Any]:
        return {"status": "ok", "version": __version__}

    async def _state(self, _request: Request) -> dict[str, Any]:
        return gateway_state(self._gateway) | {"leds": self._lamps()}

    def _lamps(self) -> dict[str, bool]:
        gateway = self._gateway
        return lamps_json(leds(gateway.lamps, gateway.clock.now(), gateway.profile.leds))

    async def _leds(self, request: Request) -> dict[str, Any]:
        count = int(request.query_params.get("count", "100"))
        recording = recording_of(self._gateway.sink)
        edges = list(recording.edges)[-count:] if recording is not None and count > 0 else []
        rows = [{"ns": at.ns, **lamps_json(lamps)} for at, lamps in edges]
        return {"leds": self._lamps(), "edges": rows}

    async def _logs(self, request: Request) -> dict[str, Any]:
        log = request.path_params["log"]
        if log not in _LOGS:
            raise SmgwError(f"no log {log!r}; there are: {', '.join(_LOGS)}")
        running = self._gateway.running
        if running is None:
            raise SmgwError("the device is not running")
        reader = request.query_params.get("reader", "")
        count = int(request.query_params.get("count", "100"))
        entries = running.device.logbooks.last(log, reader, max(0, count))
        return {"log": log, "reader": reader, "entries": [log_json(entry) for entry in entries]}

    async def _module(self, request: Request) -> dict[str, Any]:
        module = self._gateway.hsm
        entries = module.log.since(int(request.query_params.get("since", "0")))
        return {
            **gateway_state(self._gateway)["security_module"],
            "log": [msgspec.to_builtins(entry) for entry in entries],
            "slots": module.slots(),
            "files": module.files(),
        }

    def _virtual_clock(self) -> VirtualClock:
        clock = self._gateway.clock
        if not isinstance(clock, VirtualClock):
            raise SmgwError("this gateway runs on the system's clock (smgw run --clock virtual)")
        return clock

    async def _clock_get(self, _request: Request) -> dict[str, Any]:
        clock = self._gateway.clock
        speed = clock.factor if isinstance(clock, VirtualClock) else 1.0
        return {"world_time": clock.now().iso(), "speed": speed}

    async def _clock_set(self, request: Request) -> dict[str, Any]:
        order = msgspec.json.decode(await _body(request), type=ClockOrder)
        self._gateway.adjust_device_clock(
            order.device_offset_ms, order.device_drift_ppb, valid=order.device_valid
        )
        clock = self._virtual_clock()
        if order.speed is not None:
            clock.set_factor(order.speed)
        if order.pause is True:
            self._resume_speed = clock.factor or self._resume_speed
            clock.set_factor(0)
        elif order.pause is False and clock.factor == 0:
            clock.set_factor(self._resume_speed)
        if order.advance_s is not None:
            if not 0 <= order.advance_s <= MAX_ADVANCE_S:
                raise SmgwError(f"advance_s must be 0 to {MAX_ADVANCE_S}")
            await clock.advance(int(order.advance_s * SECOND))
        return await self._clock_get(request)

    async def _link(self, request: Request) -> dict[str, Any]:
        changes = msgspec.json.decode(await _body(request), type=dict[str, Any])
        now = msgspec.structs.asdict(self._gateway.config.link)
        self._gateway.set_link(msgspec.convert(now | changes, Link))
        return await self._state(request)

    async def _lmn(self, request: Request) -> dict[str, Any]:
        order = msgspec.json.decode(await _body(request), type=LmnOrder)
        running = self._gateway.running
        if running is None:
            raise SmgwError("the device is not running")
        if order.load_ma is not None:
            if not 0 <= order.load_ma <= MAX_LOAD_MA:
                raise SmgwError(f"load_ma must be 0 to {MAX_LOAD_MA}")
            lines = [line for line in running.lmn.wired if order.port in {"", line.name}]
            if not lines:
                raise SmgwError(f"no wired LMN port {order.port!r}")
            for line in lines:
                line.set_load(order.load_ma)
        if not order.order:
            return await self._state(request)
        finished: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()

        def done(result: str, failed: str) -> None:
            if not finished.done():
                finished.set_result((result, failed))

        running.lmn.give(order.meter.lower(), order.order, done)
        result, failed = await finished
        return {"meter": order.meter.lower(), "order": order.order, "result": result} | (
            {"error": failed} if failed else {}
        )

    async def _power(self, request: Request) -> dict[str, Any]:
        order = msgspec.json.decode(await _body(request), type=trials.PowerOrder)
        await trials.set_power(self._gateway, order)
        return await self._state(request)

    async def _secure_state(self, _request: Request) -> dict[str, Any]:
        return trials.secure_state(self._gateway)

    async def _network(self, request: Request) -> dict[str, Any]:
        order = msgspec.json.decode(await _body(request), type=trials.NetworkOrder)
        trials.set_network(self._gateway, order)
        return {"joined": order.joined}

    async def _events(self, request: Request) -> dict[str, Any]:
        order = msgspec.json.decode(await _body(request), type=trials.EventOrder)
        return {"written": await trials.burst(self._gateway, order)}

    async def _firmware_get(self, _request: Request) -> dict[str, Any]:
        return trials.firmware(self._gateway)

    async def _firmware_set(self, request: Request) -> dict[str, Any]:
        order = msgspec.json.decode(await _body(request), type=trials.FirmwareOrder)
        trials.set_firmware(self._gateway, order)
        return trials.firmware(self._gateway)

    async def _stream(self, _request: Request) -> Response:
        """Send the lamps now, then a line for every edge, until the client goes."""
        edges: asyncio.Queue[tuple[WorldTime, Leds]] = asyncio.Queue(MAX_WAITING)
        gateway, panel = self._gateway, self._gateway.panel

        def see(now: WorldTime, lamps: Leds) -> None:
            if not edges.full():  # a client that does not read misses edges, nobody waits for it
                edges.put_nowait((now, lamps))

        def line(now: WorldTime, lamps: Leds) -> bytes:
            shown = {
                "ns": now.ns,
                "leds": lamps_json(lamps),
                "phase": panel.state.phase,
                "secure_state": panel.state.secure,
                "cause": gateway.cause,
            }
            return msgspec.json.encode(shown) + b"\n"

        async def lines() -> AsyncIterator[bytes]:
            end = panel.watch(see)
            try:
                now = gateway.clock.now()
                yield line(now, leds(panel.state, now, panel.times))
                while True:
                    yield line(*await edges.get())
            finally:
                end()

        return StreamingResponse(lines(), media_type="application/x-ndjson")


async def _body(request: Request) -> bytes:
    """Read a bounded body."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise SmgwError(f"body longer than {MAX_BODY} octets")
    return data


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: signals belong to the command."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
