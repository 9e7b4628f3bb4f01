"""``smgw demo``: everything at once."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import click

from smgw_emu.bench.gwa.commission import Step
from smgw_emu.cli.common import DIRECTORY, configure_log, print_json, stop_event
from smgw_emu.cli.init_ import free_port
from smgw_emu.cli.run_ import note_addresses
from smgw_emu.cli.status_ import lamp_line
from smgw_emu.core.instants import DAY, WorldTime, parse_device_time
from smgw_emu.core.leds import leds
from smgw_emu.core.obis import ACTIVE_ENERGY_IMPORT
from smgw_emu.core.values import scaled
from smgw_emu.lab.control import ControlServer
from smgw_emu.lab.demo import FIRST_MOMENT, Household, checked_pass
from smgw_emu.transport.clock import VirtualClock, new_event_loop


@click.command("demo")
@click.option("--once", is_flag=True, help="One checked pass on the virtual clock, then exit.")
@click.option("--json", "as_json", is_flag=True, help="With --once: print only the summary.")
@click.option("--dir", "directory", type=DIRECTORY, help="Keep the gateway here (temporary).")
@click.option("--han-port", default=8443, show_default=True, type=click.IntRange(0, 65535))
@click.option("--control-port", default=8460, show_default=True, type=click.IntRange(0, 65535))
@click.option("--keylog", default="", help="Write TLS session secrets to this file.")
def command(
    once: bool,
    as_json: bool,
    directory: Path | None,
    han_port: int,
    control_port: int,
    keylog: str,
) -> None:
    """Run meter, administrator, market participant, gateway and consumer in one program.

    The gateway begins as a factory delivers it. The administrator takes its delivery note, is
    called, gives it time, certificates and profiles; then values flow. Without --once: how to
    reach it all, and a live line, until Ctrl-C. With --once: one simulated day, every list read
    over TLS, every delivery compared, all checked; exit code 0 if everything was as it must be.
    """
    configure_log("warning")
    with (
        tempfile.TemporaryDirectory(prefix="smgw-demo-") as folder,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        home = directory or Path(folder) / "gateway"
        if once:
            runner.run(_once(home, keylog, as_json=as_json))
        else:
            runner.run(_live(home, free_port(han_port), free_port(control_port), keylog))


async def _once(home: Path, keylog: str, *, as_json: bool) -> None:
    started = time.perf_counter()
    start = WorldTime(parse_device_time(FIRST_MOMENT).ns)
    clock = VirtualClock(asyncio.get_running_loop(), start, 0)
    household = Household(home, clock, keylog=keylog)

    def say(text: str) -> None:
        if not as_json:
            click.echo(f"{time.perf_counter() - started:6.2f} s  {text}")

    try:
        summary = await checked_pass(household, say)
    finally:
        await household.stop()
    summary["seconds"] = round(time.perf_counter() - started, 2)
    print_json(summary)


async def _live(home: Path, han_port: int, control_port: int, keylog: str) -> None:
    stop = stop_event()
    begin = WorldTime(time.time_ns()) + -DAY
    clock = VirtualClock(asyncio.get_running_loop(), begin, 0)
    household = Household(home, clock, han_port=han_port, control_port=control_port, keylog=keylog)
    control: ControlServer | None = None
    try:
        click.echo("a gateway leaves the factory, the administrator commissions it:")
        await household.start(_tell)
        control = ControlServer(household.gateway, "127.0.0.1", control_port)
        await control.start()
        click.echo("preparing one day of readings ...")
        await clock.advance_to(WorldTime(time.time_ns()))
        clock.set_factor(1)
        note_addresses(household.gateway, control)
        _explain(household, home, control.url)
        while not stop.is_set():
            _show(household)
            try:
                await asyncio.wait_for(stop.wait(), 0.25 if sys.stdout.isatty() else 15)
            except TimeoutError:
                continue
        click.echo()
    finally:
        await household.stop()
        if control is not None:
            await control.stop()


def _tell(step: Step) -> None:
    click.echo(f"  {step.world_time}  {step.name}: {step.detail}")


def _explain(household: Household, home: Path, control_url: str) -> None:
    han = household.access.han
    url = f"https://{han.host}:{han.port}"
    body = json.dumps(
        {
            "method": "readings",
            "usage-point-id": "01005e318027.taf7-1.sm",
            "database": "origin",
            "last-reading": "true",
        }
    )
    card = household.market.administrator.card()
    values = household.market.participant.store.quality()
    smgw = f"{Path(sys.argv[0])}" if sys.argv[0].endswith("smgw") else "smgw"
    click.echo(
        f"""
A TEST gateway {household.gateway.config.device_id} with a virtual meter, its administrator and a
market participant are running.

  Browser   {url}/      (self-signed certificate: accept it once)
  User      {han.user}
  Password  {han.password}
  PKCS#12   {han.p12}
            password {han.p12_password}
  Lab       {control_url}/state
  GWA       {", ".join(card.management + card.admin_service)}
  EMT       {values.get("measured", 0)} values received

Copy and paste:
  curl -sk --digest -u '{han.user}:{han.password}' -H 'Content-Type: application/json' \\
       -d '{body}' {url}/smgw/m2m/{han.user}.sm/json
  xdg-open {url}/
  {smgw} han -d {home} readings

Ctrl-C ends it.
"""
    )


def _show(household: Household) -> None:
    gateway = household.gateway
    now = gateway.clock.now()
    line = lamp_line(leds(gateway.lamps, now, gateway.profile.leds)._asdict())
    value = "-"
    if gateway.running is not None:
        current = gateway.running.device.metering.current
        found = current.get((household.meter.id.lower, ACTIVE_ENERGY_IMPORT))
        if found is not None:
            _, raw, scaler, _unit = found
            value = f"{format(scaled(raw, scaler), 'f')} Wh"
    end = "\r" if sys.stdout.isatty() else "\n"
    click.echo(f"{now.iso()}  {line}   1.8.0 {value}   {gateway.lamps.secure}", nl=False)
    sys.stdout.write(end)
    sys.stdout.flush()
