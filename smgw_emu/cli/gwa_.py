"""``smgw gwa``: a reference administrator (GWA)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import click

from smgw_emu.cli import gwa_contract
from smgw_emu.cli.common import DIRECTORY, configure_log, print_json, stop_event
from smgw_emu.cli.gwa_orders import gwa_option, send_order, stream_order
from smgw_emu.core.errors import ConfigError

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group("gwa")
def command() -> None:
    """Act as the gateways' administrator (GWA).

    \b
    First steps:
      smgw gwa init gwa                      an administrator with PKI and market participant
      smgw gwa serve gwa                     start it, then in another window
      smgw init gw --factory gwa             a gateway as a factory delivers it
      smgw run gw --meter /dev/ttyUSB0       switch it on: it calls the administrator
      smgw gwa commission ID --meter 1EMH...  everything from first contact to contracts
    """  # noqa: D301  # \\b is click's mark for text not to be wrapped


@command.command("init")
@click.argument("directory", type=DIRECTORY)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9443, show_default=True, help="First of five ports: MANAGEMENT.")
@click.option("--control-port", default=9460, show_default=True)
@click.option("--start", default="", help="Begin of the certificates (now).")
def init(directory: Path, host: str, port: int, control_port: int, start: str) -> None:
    """Make an administrator in DIRECTORY: PKI, identity, one market participant (emt1).

    MANAGEMENT, ADMIN-SERVICE, NTP-TLS, the participant and `smgw aemt` listen on PORT to PORT+4.
    DIRECTORY/administrator.json is what a factory needs.
    """
    from smgw_emu.bench.gwa.folder import Places, create_gwa
    from smgw_emu.cli.init_ import parse_moment
    from smgw_emu.core.instants import WorldTime

    moment = parse_moment(start) or WorldTime(time.time_ns())
    places = Places(
        host, port, port + 1, port + 2, control_port, port + 3, port + 4, control_port + 1
    )
    folder = create_gwa(directory, places, moment.datetime())
    print_json({"directory": str(folder.path), "card": str(directory / "administrator.json")})
    click.echo(f"next: smgw gwa serve {directory}", err=True)


@command.command("serve")
@click.argument("directory", type=DIRECTORY)
@click.option("--note", "notes", multiple=True, type=FILE, help="Delivery notes to import.")
@click.option("--no-emt", is_flag=True, help="Leave the market participant to `smgw emt serve`.")
@click.option("--strangers", is_flag=True, help="Let devices in that no note has named.")
@click.option("--keylog", default="", help="Write TLS session secrets to this file.")
@click.option("--log-level", default="warning", show_default=True)
def serve(
    directory: Path,
    notes: tuple[Path, ...],
    no_emt: bool,
    strangers: bool,
    keylog: str,
    log_level: str,
) -> None:
    """Run the administrator (and the market participant) until it is interrupted.

    Prints every event a gateway reports and every delivery.
    """
    configure_log(log_level)
    asyncio.run(_serve(directory, notes, not no_emt, strangers, keylog))


async def _serve(
    directory: Path, notes: tuple[Path, ...], emt: bool, strangers: bool, keylog: str
) -> None:
    from smgw_emu.bench.gwa.cls_access import ClsAccess
    from smgw_emu.bench.gwa.folder import open_gwa
    from smgw_emu.bench.gwa.note import read_note
    from smgw_emu.cli.emt_ import participant_of
    from smgw_emu.lab.gwa_control import GwaControl
    from smgw_emu.transport.clock import SystemClock

    folder, stop = open_gwa(directory), stop_event()
    clock = SystemClock(asyncio.get_running_loop())
    administrator = folder.administrator(clock, keylog)
    administrator.faults.strangers = strangers
    administrator.on_event = lambda device, name, message: click.echo(
        f"{device}  {name}: {message}"
    )
    for path in notes:
        administrator.import_note(read_note(path))
    access = ClsAccess(administrator, file=folder.path / "cls_access.json")
    control = GwaControl(administrator, "127.0.0.1", folder.places.control, access)
    participant = participant_of(folder, clock, keylog) if emt else None
    try:
        await administrator.start()
        if participant is not None:
            click.echo(f"emt {await participant.start(folder.places.host, folder.places.emt)}")
            administrator.on_forward = lambda grid: participant.accept_forwarded(
                grid.envelope, grid.id
            )
        for name in ("management", "admin_service", "ntp"):
            host, port = getattr(administrator.addresses, name)
            click.echo(f"{name} https://{host}:{port}")
        click.echo(f"control {await control.start()}")
        click.echo("ready")
        await stop.wait()
    finally:
        await control.stop()
        if participant is not None:
            await participant.stop()
        await administrator.stop()
        administrator.registry.close()


# -- orders to a running administrator ---------------------------------------------------------


@command.command("note")
@gwa_option
@click.argument("notes", nargs=-1, required=True, type=FILE)
def note(gwa: Path, notes: tuple[Path, ...]) -> None:
    """Import delivery notes (delivery-note.json of a factory gateway)."""
    for path in notes:
        print_json(send_order(gwa, "POST", "note", body=path.read_bytes()))


@command.command("list")
@gwa_option
def list_(gwa: Path) -> None:
    """List the gateways the administrator knows."""
    for row in send_order(gwa, "GET", "gateways"):
        channel = "MANAGEMENT up" if row["management"] else "-"
        click.echo(f"{row['id']}  {row['state']:14}  generation {row['generation']}  {channel}")


@command.command("history")
@gwa_option
@click.argument("device", default="")
@click.option("--count", default=50, show_default=True)
def history(gwa: Path, device: str, count: int) -> None:
    """Show the communication history of one gateway or all."""
    for row in send_order(gwa, "GET", "history", device=device, count=count):
        click.echo(
            f"{row['time']}  {row['device'] or '-':14}  {row['kind']:14} {row['result']}  "
            f"{row['detail'][:100]}"
        )


@command.command("events")
@gwa_option
@click.argument("device", default="")
def events(gwa: Path, device: str) -> None:
    """Show what gateways have reported."""
    for row in send_order(gwa, "GET", "events", device=device):
        what = f"{row['level']} {row['name']}: {row['message']}"
        click.echo(f"{row['time']}  {row['device']}  {what}")


@command.command("info")
@gwa_option
@click.argument("device")
def info(gwa: Path, device: str) -> None:
    """Read the device information of a gateway."""
    print_json(send_order(gwa, "GET", "info", device=device))


@command.command("logs")
@gwa_option
@click.argument("device")
@click.option("--log", type=click.Choice(["system", "calibration"]), default="system")
@click.option("--since", default="", help="Only entries from this date-time on.")
def logs(gwa: Path, device: str, log: str, since: str) -> None:
    """Read the system or calibration log of a gateway."""
    for row in send_order(gwa, "GET", f"logs/{log}", device=device, since=since):
        mark = f"{row['level']} {row['outcome']}"
        click.echo(f"{row['number']:6}  {mark}  {row['event']:12} {row['message']}")


@command.command("commission")
@gwa_option
@click.argument("device")
@click.option("--plan", type=FILE, help="What to configure, as TOML (docs/administrator.md).")
@click.option("--meter", "meters", multiple=True, help="Without a plan: id of a meter.")
@click.option("--password", default="", envvar="SMGW_PASSWORD", help="Of consumer1 (random).")
def commission(
    gwa: Path, device: str, plan: Path | None, meters: tuple[str, ...], password: str
) -> None:
    """Commission a gateway: certificates, market participant, meters, consumer, contracts.

    Without --plan: market participant emt1, the named meters, consumer1 with a password, TAF 1 and
    TAF 7 from now on.
    """
    import msgspec

    from smgw_emu.bench.gwa.folder import open_gwa
    from smgw_emu.cli.emt_ import participant_profile
    from smgw_emu.lab.plan import read_plan

    folder = open_gwa(gwa)
    participant = participant_profile(folder)
    shown = ""
    if plan is not None:
        wanted = read_plan(plan, device.lower(), [participant])
    else:
        wanted, shown = _standard(device, meters, password, [participant])
    for step in stream_order(gwa, "commission", msgspec.json.encode(wanted), device=device):
        click.echo(
            f"{step['world_time']}  {step['seconds']:7.3f} s  {step['name']}: {step['detail']}"
        )
    if shown:
        click.echo(f"consumer1 logs in with password {shown}")


def _standard(
    device: str, meters: tuple[str, ...], password: str, participants: list[Any]
) -> tuple[Any, str]:
    """The standard parameters of a household (GW-24)."""
    import secrets

    from han.digest import ha1
    from smgw_emu.bench.gwa.commission import CommissionPlan
    from smgw_emu.core.config import Consumer
    from smgw_emu.core.instants import DeviceTime
    from smgw_emu.core.meter_profile import Meter
    from smgw_emu.core.usage_point import UsagePoint

    if not meters:
        raise ConfigError("name the meters (--meter ID) or give a plan (--plan FILE)")
    password = password or secrets.token_urlsafe(12)
    realm = device.lower()
    begin = DeviceTime.from_seconds(int(time.time()) // 900 * 900).iso()
    consumer = Consumer(
        "consumer1",
        "consumer1.sm",
        ha1("consumer1", realm, password, "MD5"),
        ha1("consumer1", realm, password, "SHA-256"),
    )
    points = [
        UsagePoint(f"taf{taf}-{n}", taf, "consumer1", (meter,), begin)
        for n, meter in enumerate(meters, 1)
        for taf in (1, 7)
    ]
    plan = CommissionPlan(
        participants=participants,
        meters=[(Meter(meter), b"") for meter in meters],
        consumers=[consumer],
        points=points,
    )
    return plan, password


@command.command("profile")
@gwa_option
@click.argument("device")
@click.argument("kind")
@click.argument("file", type=FILE)
@click.option("--delete", is_flag=True, help="Remove it.")
def profile(gwa: Path, device: str, kind: str, file: Path, delete: bool) -> None:
    """Put one profile in force, or remove it.

    KIND is wan, meter, consumer, technician, usage-point, han, lmn, cls or proxy; FILE holds its
    fields as TOML.
    """
    import msgspec

    from smgw_emu.lab.plan import read_record

    record, secrets = read_record(file, kind, device.lower())
    body = msgspec.json.encode({"kind": kind, "record": record, "secrets": secrets})
    verb = "DELETE" if delete else "PUT"
    print_json(send_order(gwa, verb, "profile", device=device, body=body))


@command.command("firmware")
@gwa_option
@click.argument("device")
@click.argument("image", type=FILE)
@click.option("--name", default="", help="Name on the gateway (the file's).")
@click.option("--activate", is_flag=True, help="Activate it after the check.")
@click.option("--at", "moment", default="", help="Moment of the activation (now).")
def firmware(gwa: Path, device: str, image: Path, name: str, activate: bool, moment: str) -> None:
    """Load an image into a gateway, verify it, activate it; a broken transfer goes on."""
    parameters = {"device": device, "name": name or image.name}
    if activate:
        parameters["activate"] = moment
    for item in stream_order(gwa, "firmware", image.read_bytes(), **parameters):
        if "loaded" in item:
            click.echo(
                f"\r{item['loaded']} of {item['of']} octets", nl=item["loaded"] == item["of"]
            )
        else:
            print_json(item)


@command.command("self-test")
@gwa_option
@click.argument("device")
def self_test(gwa: Path, device: str) -> None:
    """Run a gateway's self-test and wait for the result."""
    print_json(send_order(gwa, "POST", "self-test", device=device))


@command.command("clock")
@gwa_option
@click.argument("device")
@click.option("--method", type=click.Choice(["NTP-TLS", "NTP-HTTPS"]), default="NTP-TLS")
@click.option("--interval", default=3600, show_default=True, help="Seconds.")
def clock(gwa: Path, device: str, method: str, interval: int) -> None:
    """Set how a gateway synchronises its time."""
    print_json(send_order(gwa, "POST", "clock", device=device, method=method, interval=interval))


@command.command("resync")
@gwa_option
@click.argument("device")
def resync(gwa: Path, device: str) -> None:
    """Have a gateway set its clock now, whatever the deviation: ends Secure State Application."""
    print_json(send_order(gwa, "POST", "resync", device=device))


@command.command("permit")
@gwa_option
@click.argument("aemt", default="")
@click.argument("device", default="")
@click.argument("proxy", default="")
@click.option("--withdraw", is_flag=True, help="Take it back.")
def permit(gwa: Path, aemt: str, device: str, proxy: str, withdraw: bool) -> None:
    """Let active EMT AEMT ask for channels of proxy profile PROXY of DEVICE.

    Without arguments: list what is permitted.
    """
    if not aemt:
        for row in send_order(gwa, "GET", "permit"):
            click.echo("  ".join(row))
        return
    if not (device and proxy):
        raise click.UsageError("AEMT, DEVICE and PROXY are needed")
    verb = "DELETE" if withdraw else "PUT"
    print_json(send_order(gwa, verb, "permit", aemt=aemt, device=device, proxy=proxy))


@command.command("channel")
@gwa_option
@click.argument("device")
@click.argument("proxy")
@click.argument("order", type=click.Choice(["connect", "disconnect", "state"]), default="state")
def channel(gwa: Path, device: str, proxy: str, order: str) -> None:
    """Open or close the transparent channel of a proxy profile (HKS4), or look at it."""
    verb = "GET" if order == "state" else "POST"
    print_json(send_order(gwa, verb, "channel", device=device, proxy=proxy, order=order))


@command.command("decommission")
@gwa_option
@click.argument("device")
@click.confirmation_option(prompt="End every contract of this gateway?")
def decommission(gwa: Path, device: str) -> None:
    """Take a gateway out of service: last values, end of all contracts."""
    print_json(send_order(gwa, "POST", "decommission", device=device))


@command.command("wakeup")
@gwa_option
@click.argument("device", default="")
@click.option(
    "-d",
    "--dir",
    "directory",
    type=DIRECTORY,
    help="Instead of a running administrator: a gateway of `smgw init`, with the key in lab-pki.",
)
@click.option("--to", "target", default="", help="HOST:PORT of the wake-up service.")
@click.option("--transport", type=click.Choice(["udp", "tcp"]), help="With -d (default udp).")
@click.option("--time", "moment", default="", help="With -d: creation time of the packet (now).")
@click.option(
    "--order",
    type=click.Choice(["little", "big"]),
    default="little",
    show_default=True,
    help="With -d: byte order of the timestamp.",
)
@click.option("--print", "only_print", is_flag=True, help="With -d: print the packet in hex.")
def wakeup(
    gwa: Path,
    device: str,
    directory: Path | None,
    target: str,
    transport: str | None,
    moment: str,
    order: str,
    only_print: bool,
) -> None:
    """Sign a wake-up packet and send it.

    A gateway never answers a wake-up: look at `smgw status` to see what became of it.
    """
    from smgw_emu.cli.wakeup import send_from_directory

    if directory is not None:
        send_from_directory(directory, target, transport, moment, order, only_print)
    elif device:
        print_json(send_order(gwa, "POST", "wakeup", device=device, to=target))
    else:
        raise ConfigError("name the DEVICE, or a gateway's directory with -d")


for _sub_command in gwa_contract.COMMANDS:
    command.add_command(_sub_command)
