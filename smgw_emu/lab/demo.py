"""One household from the factory on: administrator, market, virtual meter, gateway, consumer.

One process, real sockets, real TLS. Nothing is configured but what a factory leaves in a gateway;
everything else comes over the WAN.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from smgw_emu.bench.consumer import HanClient, client_context
from smgw_emu.bench.emt import Quality
from smgw_emu.bench.gwa.commission import Commissioning, CommissionPlan, Step
from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.bench.meters.outputs import SocketOutput, Transmitter
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import DAY, MINUTE, SECOND, DeviceTime, WorldTime
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.gateway import Gateway
from smgw_emu.lab.access import Access, ControlAccess, HanAccess, write_access
from smgw_emu.lab.market import Market
from smgw_emu.lab.provision import DEFAULT_METER
from smgw_emu.transport.clock import VirtualClock

METER_INTERVAL = 60 * SECOND
POLL_INTERVAL = 15 * MINUTE
# 31 March 12:00 in Germany: the day that follows holds the end of a billing period.
FIRST_MOMENT = "2026-03-31T10:00:00Z"
_QUARTER_S = 900
_CONTRACTS = ((1, "taf1-1", "Datensparsamer Tarif"), (7, "taf7-1", "Zählerstandsgang"))
_MASTER_KEY = bytes.fromhex("00112233445566778899aabbccddeeff")  # of the virtual meter


class DemoError(SmgwError):
    """A step of the checked pass did not give what it must."""


class Household:
    """Counterparts, meter and gateway wired together.

    Args:
        directory: an empty directory for the gateway.
        clock: the virtual clock everything runs on.
        han_port, control_port: TCP ports, 0 for free ones.
        keylog: file for TLS secrets of captures.
    """

    def __init__(
        self,
        directory: Path,
        clock: VirtualClock,
        *,
        han_port: int = 0,
        control_port: int = 0,
        keylog: str = "",
    ) -> None:
        self.clock = clock
        self._directory = directory
        self._ports: dict[str, Any] = {"han_port": han_port, "control_port": control_port}
        self._keylog = keylog
        self.market = Market(clock, keylog=keylog)
        self.steps: list[Step] = []
        self.access = Access(HanAccess("", 0, "", "", "", ""), ControlAccess(""))
        self.meter = ElectricityMeter(DEFAULT_METER, clock.now(), seed=1)
        ours, self._plug = socket.socketpair()
        self._output = SocketOutput(ours)
        self.transmitter = Transmitter(self.meter.frame, self._output, clock, METER_INTERVAL)
        self._gateway: Gateway | None = None

    @property
    def gateway(self) -> Gateway:
        """The gateway, once it was made."""
        if self._gateway is None:
            raise DemoError("the household has not been started")
        return self._gateway

    async def start(self, say: Callable[[Step], None] = lambda _step: None) -> None:
        """Switch on and commission; time jumps as far as that needs (about a minute)."""
        market = self.market
        await market.start()
        gateway = self._gateway = market.factory(self._directory, **self._ports)
        gateway.keylog = self._keylog
        gateway.connect("lmn", self._plug)
        await gateway.power_on()
        if gateway.running is None:
            raise DemoError(f"the gateway does not start: {gateway.cause}")
        self.transmitter.start()
        market.wakeup_known(gateway)
        await self.commission(say)

    async def commission(self, say: Callable[[Step], None]) -> None:
        """Have the administrator do everything from first contact to contracts."""
        market, gateway = self.market, self.gateway
        kit = market.consumer(gateway)
        quarter = self.clock.now().seconds // _QUARTER_S * _QUARTER_S
        begin = DeviceTime.from_seconds(quarter).iso()
        plan = CommissionPlan(
            participants=[market.participant.wan_profile()],
            meters=[(Meter(DEFAULT_METER), _MASTER_KEY)],
            consumers=[kit.record],
            points=[
                UsagePoint(
                    name, taf, kit.record.login, (DEFAULT_METER,), begin, description=description
                )
                for taf, name, description in _CONTRACTS
            ],
        )
        device = str(gateway.config.device_id)
        job = Commissioning(market.administrator, device, plan, say)
        self.steps = await market.drive(job.run())
        if gateway.han_address is None:
            raise DemoError("the HAN interface did not open")
        self.access.han = kit.access(gateway)
        write_access(self._directory, self.access)

    async def stop(self) -> None:
        """Switch off."""
        self.transmitter.stop()
        if self._gateway is not None:
            await self._gateway.power_off()
        await self.market.stop()
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
    await household.start(lambda step: say(f"{step.name}: {step.detail}"))
    begun = household.clock.now()
    say("one day of metering, the consumer asks every 15 minutes")
    polls = await poll_for(household, DAY)
    say("the consumer reads every list")
    async with household.client(with_certificate=True) as client:
        summary = await _read_everything(client, household.clock.now())
    say("what the market has got")
    summary["market"] = _market(household)
    say("self-test")
    async with household.client() as client:
        summary["self_test"] = await _self_test(client, household.clock)
        log = (await client.call("log"))["log"]
    summary["log_entries"] = int(log["records"])
    summary["deliveries_logged"] = sum(entry["event-id"] == "16001" for entry in log["entries"])
    summary["events"] = _events(household)
    summary["steps"] = [asdict(step) for step in household.steps]
    summary["commissioned_within_s"] = (begun.ns - _first(household).ns) // SECOND
    summary["polls"] = polls
    summary["frames"] = household.transmitter.sent
    summary["world_time"] = household.clock.now().iso()
    _check(summary)
    return summary


def _first(household: Household) -> WorldTime:
    moment = DeviceTime.from_datetime(household.market.pki.now)
    return WorldTime(moment.ns)


def _market(household: Household) -> dict[str, Any]:
    """What the market participant has, against what the gateway has stored."""
    participant = household.market.participant
    running = household.gateway.running
    assert running is not None
    equal = 0
    for value in participant.store.values("01005e318027.taf7-1.sm"):
        lines = running.device.store.readings(
            "origin",
            household.meter.id.lower,
            str(_QUARTER_S),
            value.target + -1,
            value.target,
        )
        equal += any(line.value == value.entry.value for line in lines)
    return {
        "deliveries": len(participant.store.deliveries()),
        "values": participant.store.quality(),
        "equal": equal,
        "refused": participant.refused,
        "findings": participant.store.findings(),
        "waiting": running.wan.outbox.count(),
    }


def _events(household: Household) -> list[str]:
    return [event["name"] for event in household.market.administrator.registry.events()]


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
        "commissioning had every step": [step["name"] for step in summary["steps"]] == _STEPS,
        "two deliveries reached the market": summary["market"]["deliveries"] == 2,
        "48 quarter hours until midnight, equal to the gateway's": summary["market"]["equal"] == 48,
        "every value at the market is measured": summary["market"]["values"]
        == {Quality.MEASURED.value: 49},
        "nothing refused, nothing odd, nothing waiting": not (
            summary["market"]["refused"]
            or summary["market"]["findings"]
            or summary["market"]["waiting"]
        ),
        "each delivery stands in the consumer's log": summary["deliveries_logged"] == 2,
        "the administrator was told of start, time, certificates, pairing and self-test": {
            "start",
            "time-valid",
            "certificates-installed",
            "meter-paired",
            "self-test-passed",
        }
        <= set(summary["events"]),
    }
    missed = [name for name, met in expectations.items() if not met]
    if missed:
        raise DemoError(f"the pass failed: {'; '.join(missed)}; {summary}")
    summary["checks"] = list(expectations)


_STEPS = [
    "delivery note",
    "first contact",
    "time",
    "certificates",
    "market participants",
    "meter profiles",
    "pairing",
    "consumer access",
    "evaluation profiles",
    "check",
]
