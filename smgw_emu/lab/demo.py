"""One household: virtual meter, gateway, consumer; one process, real sockets, real TLS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smgw_emu.bench.consumer import HanClient, client_context
from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.bench.meters.outputs import SocketOutput, Transmitter
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import DAY, MINUTE, SECOND, WorldTime
from smgw_emu.gateway import Gateway
from smgw_emu.lab.access import Access
from smgw_emu.lab.provision import DEFAULT_METER, Plan, create_gateway
from smgw_emu.transport.clock import VirtualClock

METER_INTERVAL = 60 * SECOND
POLL_INTERVAL = 15 * MINUTE
# 31 March 12:00 in Germany: the day that follows holds the end of a billing period.
FIRST_MOMENT = "2026-03-31T10:00:00Z"


class DemoError(SmgwError):
    """A step of the checked pass did not give what it must."""


class Household:
    """Meter and gateway wired together.

    Args:
        directory: an empty directory for the gateway.
        clock: the virtual clock everything runs on.
        han_port, control_port: TCP ports, 0 for free ones.
    """

    def __init__(
        self, directory: Path, clock: VirtualClock, *, han_port: int = 0, control_port: int = 0
    ) -> None:
        self.clock = clock
        now = clock.now()
        plan = Plan(now=now, han_port=han_port, control_port=control_port)
        self.access: Access = create_gateway(directory, plan)
        self.gateway = Gateway(directory, clock)
        self.meter = ElectricityMeter(DEFAULT_METER, now, seed=1)
        ours, theirs = socket.socketpair()
        self._output = SocketOutput(ours)
        self.transmitter = Transmitter(self.meter.frame, self._output, clock, METER_INTERVAL)
        self._plug = theirs
        self.gateway.connect(DEFAULT_METER, theirs)

    async def start(self) -> None:
        """Switch on."""
        await self.gateway.power_on()
        if self.gateway.han_address is None:
            raise DemoError(f"the HAN interface did not open: {self.gateway.cause}")
        self.access.han.host, self.access.han.port = self.gateway.han_address
        self.transmitter.start()

    async def stop(self) -> None:
        """Switch off."""
        self.transmitter.stop()
        await self.gateway.power_off()
        self._output.close()
        self._plug.close()

    def client(self, *, with_certificate: bool = False) -> HanClient:
        """Return the consumer's client."""
        han = self.access.han
        p12 = (Path(han.p12), han.p12_password) if with_certificate else None
        context = client_context(Path(han.ca), p12)
        login = None if with_certificate else (han.user, han.password)
        return HanClient(f"https://{han.host}:{han.port}", context, login)


async def poll_for(household: Household, duration: int) -> int:
    """Let time jump ``duration`` ahead while the consumer asks every 15 minutes; returns polls."""
    clock = household.clock
    loop = asyncio.get_running_loop()
    end = clock.now() + duration
    failures: list[BaseException] = []
    running: set[asyncio.Task[None]] = set()
    polls = 0

    async with household.client() as client:

        async def ask() -> None:
            nonlocal polls
            with clock.hold():  # time stands still until the answer is here
                answer = await client.call("smgw-info")
                if answer["method"] != "smgw-info":
                    raise DemoError("smgw-info: wrong answer")
            polls += 1

        def done(task: asyncio.Task[None]) -> None:
            running.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                failures.append(error)

        def poll() -> None:
            task = loop.create_task(ask())
            running.add(task)
            task.add_done_callback(done)
            if clock.now() + POLL_INTERVAL <= end:
                clock.call_at(clock.now() + POLL_INTERVAL, poll)

        clock.call_at(clock.now() + POLL_INTERVAL, poll)
        await clock.advance_to(end)
        if running:
            await asyncio.wait(running)
    if failures:
        raise failures[0]
    return polls


async def checked_pass(
    household: Household, say: Callable[[str], None] = lambda _text: None
) -> dict[str, Any]:
    """Run the whole chain once and check it; returns the summary.

    Raises:
        DemoError: a step did not give what it must.
    """
    say("gateway starts")
    await household.start()
    say("one day of metering, the consumer asks every 15 minutes")
    polls = await poll_for(household, DAY)
    say("the consumer reads every list")
    async with household.client(with_certificate=True) as client:
        summary = await _read_everything(client, household.clock.now())
    say("self-test")
    async with household.client() as client:
        summary["self_test"] = await _self_test(client, household.clock)
        log = (await client.call("log"))["log"]
    summary["log_entries"] = int(log["records"])
    summary["polls"] = polls
    summary["frames"] = household.transmitter.sent
    summary["world_time"] = household.clock.now().iso()
    _check(summary)
    return summary


async def _read_everything(client: HanClient, now: WorldTime) -> dict[str, Any]:
    info = (await client.call("smgw-info"))["smgw-info"]
    lists: dict[str, dict[str, int]] = {}
    signed = 0
    last = ""
    for point in (await client.call("user-info"))["user-info"]["usage-points"]:
        name = point["usage-point-id"]
        about = (await client.call("usage-point-info", usage_point_id=name))["usage-point-info"]
        lists[name] = {}
        for database in about["databases"]:
            answer = await client.call(
                "readings",
                usage_point_id=name,
                database=database["database"],
                fromtime=(now + -2 * DAY).iso(),
                totime=now.iso(),
            )
            rows = [
                row for channel in answer["readings"]["channels"] for row in channel["readings"]
            ]
            lists[name][database["database"]] = len(rows)
            signed += sum(row["signature"] is not None for row in rows)
            last = rows[-1]["value"] if rows and database["database"] == "origin" else last
    return {"smgw_id": info["smgw-id"], "lists": lists, "signed": signed, "last_value": last}


async def _self_test(client: HanClient, clock: VirtualClock) -> str:
    # the automatic test of this very moment holds the lock (24 h after the start)
    await clock.advance(11 * MINUTE)
    await client.call("self-test")
    await clock.advance(MINUTE)
    entries = (await client.call("log"))["log"]["entries"]
    results = [entry for entry in entries if entry["event-id"] == "10"]
    return "passed" if results and results[-1]["event-sub-id"] == "1" else "failed"


def _check(summary: dict[str, Any]) -> None:
    lists = list(summary["lists"].values())
    expectations = {
        "96 quarter hours in every origin list": all(item["origin"] == 96 for item in lists),
        "one daily value per contract": all(item["daily"] == 1 for item in lists),
        "one derived value of TAF 1": [i["derived"] for i in lists if "derived" in i] == [1],
        "every value signed": summary["signed"] == sum(sum(item.values()) for item in lists),
        "self-test passed": summary["self_test"] == "passed",
        "every poll answered": summary["polls"] == DAY // POLL_INTERVAL,
    }
    missed = [name for name, met in expectations.items() if not met]
    if missed:
        raise DemoError(f"the pass failed: {'; '.join(missed)}; {summary}")
    summary["checks"] = list(expectations)
