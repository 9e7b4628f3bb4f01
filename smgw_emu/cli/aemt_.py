"""``smgw aemt``: an active market participant (CLS management)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smgw_emu.cli.common import configure_log, print_json, stop_event
from smgw_emu.cli.gwa_orders import gwa_option, send_order
from smgw_emu.core.errors import ConfigError, SmgwError

if TYPE_CHECKING:
    from smgw_emu.bench.gwa.folder import GwaFolder
    from smgw_emu.core.wan_profiles import WanProfile

NAME = "aemt1"


@click.group("aemt")
def command() -> None:
    """Act as an active EMT: switch plants through gateways.

    \b
    First steps (an administrator and a gateway run already):
      smgw aemt profile -g gwa > aemt1.toml      what the gateway must know of it
      smgw gwa profile ID wan aemt1.toml         tell the gateway
      smgw gwa permit aemt1 ID proxy1            let it ask for that channel
      smgw aemt serve -g gwa                     start it, then in another window
      smgw aemt switch ID proxy1 --limit 4200 --seconds 900
    """  # noqa: D301


def _identity(folder: GwaFolder) -> Any:
    """Return its TLS identity; the first call has the PKI issue one."""
    from hsm_sim import Purpose
    from smgw_emu.bench.gwa.folder import PKI
    from smgw_emu.bench.pki import Role
    from smgw_emu.bench.pki.folder import save_participant

    try:
        found = folder.participant(f"{NAME}.{Role.EMT}")
    except ConfigError:
        found = folder.pki.participant(Role.EMT, NAME)
        save_participant(folder.path / PKI, found)
    return found.identity(Purpose.TLS)


def _profile(folder: GwaFolder) -> WanProfile:
    from smgw_emu.core.wan_profiles import WanProfile

    places = folder.places
    place = (f"https://{places.host}:{places.aemt}",)
    return WanProfile(NAME, "PROXY", "EMT", place, _identity(folder).certificate_der)


@command.command("profile")
@gwa_option
def profile(gwa: Path) -> None:
    """Print the communication profile a gateway needs of it, as TOML."""
    from smgw_emu.bench.gwa.folder import open_gwa

    folder = open_gwa(gwa)
    wanted, pem = _profile(folder), gwa / f"{NAME}.pem"
    pem.write_bytes(_identity(folder).chain_pem)
    click.echo(f'name = "{NAME}"\nscenario = "PROXY"\nrole = "EMT"')
    click.echo(f'addresses = ["{wanted.addresses[0]}"]\ntls = "{pem.resolve()}"')


@command.command("serve")
@gwa_option
@click.option("--local", metavar="HOST:PORT",
              help="Listen there for TCP clients; their octets go into channels.")  # fmt: skip
@click.option("--keylog", default="", help="Write TLS session secrets to this file.")
@click.option("--log-level", default="info", show_default=True)
def serve(gwa: Path, local: str | None, keylog: str, log_level: str) -> None:
    """Run it until it is interrupted; gateways open their channels to it."""
    configure_log(log_level)
    asyncio.run(_serve(gwa, local, keylog))


async def _serve(gwa: Path, local: str | None, keylog: str) -> None:
    from smgw_emu.bench.cls.local_port import LocalPort
    from smgw_emu.bench.cls.management import ClsManagement
    from smgw_emu.bench.gwa.folder import open_gwa
    from smgw_emu.core.cls_profiles import parse_place
    from smgw_emu.lab.aemt_control import AemtControl
    from smgw_emu.profiles import load
    from smgw_emu.transport.clock import SystemClock

    folder, stop = open_gwa(gwa), stop_event()
    port = LocalPort() if local else None
    aemt = ClsManagement(
        folder.pki, _identity(folder), SystemClock(asyncio.get_running_loop()), load(), name=NAME,
        ask=lambda device, proxy: _ask(gwa, device, proxy),
        handler=port.channel if port is not None else None, keylog=keylog,
    )  # fmt: skip
    control = AemtControl(aemt, "127.0.0.1", folder.places.aemt_control)
    try:
        host, number = await aemt.start(folder.places.host, folder.places.aemt)
        click.echo(f"aemt {host}:{number}")
        click.echo(f"control {await control.start()}")
        if port is not None and local:
            place = await port.start(*parse_place(local))
            click.echo(f"local {place[0]}:{place[1]}")
        click.echo("ready")
        await stop.wait()
    finally:
        await control.stop()
        await aemt.stop()
        if port is not None:
            await port.stop()


async def _ask(gwa: Path, device: str, proxy: str) -> str:
    """Ask the running administrator for a channel."""
    loop = asyncio.get_running_loop()

    def order() -> str:
        try:
            answer = send_order(gwa, "POST", "channel", aemt=NAME, device=device, proxy=proxy)
        except SmgwError as error:
            return str(error)
        return str(answer["refused"])

    return await loop.run_in_executor(None, order)


@command.command("switch")
@gwa_option
@click.argument("device")
@click.argument("proxy")
@click.option("--limit", type=int, help="Most power in W.")
@click.option("--seconds", type=int, default=0, help="For so long (0: until released).")
@click.option("--release", is_flag=True, help="End the limit.")
@click.option("--relay", metavar="N=on|off", help="Switch a relay.")
@click.option("--schedule", metavar="S=W,...",
              help="Limits by seconds from now: 0=9000,600=4200,900=- (- is none).")  # fmt: skip
@click.option("--status", "status", is_flag=True, help="Only ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def switch(
    gwa: Path, device: str, proxy: str, limit: int | None, seconds: int, release: bool,
    relay: str | None, schedule: str | None, status: bool, as_json: bool,
) -> None:  # fmt: skip
    """Carry out one order at the plant behind gateway DEVICE, and show every step with its time.

    Without a channel PROXY is asked for at the administrator. Exit code 1: refused, or too late.
    """
    order = _order(limit, seconds, release, relay, schedule, status)
    found = _post(gwa, device, proxy, order)
    if as_json:
        print_json(found)
    else:
        for name, after in found["steps"]:
            click.echo(f"{after:8.2f} s  {name}")
        answer = found["answer"]
        power = "none" if answer.get("limit") is None else f"{answer['limit']} W"
        relays = ", ".join("on" if on else "off" for on in answer.get("relays", []))
        click.echo(f"state {answer['state']}, limit {power}, relays {relays}")
    if not found["answer"]["ok"]:
        raise SmgwError(f"the box refuses: {found['answer'].get('reason', '')}")
    if not found["in_budget"]:
        raise SmgwError(f"confirmed after {found['seconds']:.0f} s, 720 are allowed")


def _order(
    limit: int | None, seconds: int, release: bool, relay: str | None, schedule: str | None,
    status: bool,
) -> dict[str, Any]:  # fmt: skip
    wanted: list[dict[str, Any]] = []
    if limit is not None:
        wanted.append({"do": "limit", "watts": limit, "seconds": seconds})
    if release:
        wanted.append({"do": "release"})
    if status:
        wanted.append({"do": "status"})
    if relay is not None:
        number, _, level = relay.partition("=")
        if not number.isdigit() or level not in {"on", "off"}:
            raise click.UsageError("--relay: 1=on or 2=off")
        wanted.append({"do": "relay", "number": int(number), "on": level == "on"})
    if schedule is not None:
        wanted.append({"do": "schedule", "steps": _steps(schedule)})
    if len(wanted) != 1:
        raise click.UsageError(
            "one of --limit, --release, --relay, --schedule and --status is needed"
        )
    return {"id": 0} | wanted[0]


def _steps(text: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    for part in text.split(","):
        at, _, watts = part.partition("=")
        if not at.isdigit() or not (watts.isdigit() or watts == "-"):
            raise click.UsageError("--schedule: 0=9000,600=4200,900=-")
        steps.append({"at": int(at), "watts": None if watts == "-" else int(watts)})
    return steps


@command.command("request")
@gwa_option
@click.argument("device")
@click.argument("proxy")
@click.option("--actor", required=True, help="Who asks.")
@click.option("--vnb", is_flag=True, help="It is the grid operator: his word is an upper bound.")
@click.option("--limit", type=int, required=True, help="Most power in W.")
@click.option("--seconds", type=int, required=True, help="For so long.")
@click.option("--at", default=0, help="Beginning so many seconds from now.")
def request(
    gwa: Path, device: str, proxy: str, actor: str, vnb: bool, limit: int, seconds: int, at: int
) -> None:
    """Ask for a limit through the coordination function, which decides and switches.

    Several actors may ask for one plant; the grid operator wins, and the traffic light says who
    else is heard. Who is overruled finds a notice (`smgw aemt notices`).
    """
    print_json(_send(gwa, "POST", "request", device=device, proxy=proxy, actor=actor, watts=limit,
                     seconds=seconds, at=at, vnb="true" if vnb else "false"))  # fmt: skip


@command.command("light")
@gwa_option
@click.argument("light", type=click.Choice(["green", "yellow", "red"]))
def light(gwa: Path, light: str) -> None:
    """Set the traffic light of the grid; every plant is decided anew."""
    print_json(_send(gwa, "PUT", "light", light=light))


@command.command("notices")
@gwa_option
def notices(gwa: Path) -> None:
    """Show who was overruled, by whom and why (ex-post information)."""
    for row in _send(gwa, "GET", "notices"):
        click.echo(
            f"{row['time']}  {row['plant']}  {row['actor']}: by {row['by']}, {row['reason']}"
        )


def _post(gwa: Path, device: str, proxy: str, order: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = _send(gwa, "POST", "switch", order, device=device, proxy=proxy)
    return found


def _send(
    gwa: Path, verb: str, resource: str, body: dict[str, Any] | None = None, **parameters: Any
) -> Any:
    import httpx

    from smgw_emu.bench.gwa.folder import open_gwa
    from smgw_emu.cli import UnreachableError

    url = f"http://127.0.0.1:{open_gwa(gwa).places.aemt_control}/v1/{resource}"
    try:
        answer = httpx.request(
            verb, url, params=parameters, json=body, timeout=800, trust_env=False
        )
    except httpx.HTTPError as error:
        raise UnreachableError(f"the active EMT does not run (smgw aemt serve -g {gwa})") from error
    found = answer.json()
    if answer.status_code != 200:
        raise SmgwError(found.get("error", f"HTTP {answer.status_code}"))
    return found
