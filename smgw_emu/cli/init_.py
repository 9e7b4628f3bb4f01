"""``smgw init``: make a gateway."""

from __future__ import annotations

import re
import socket
import time
from datetime import datetime
from pathlib import Path

import click

from smgw_emu.cli.common import DIRECTORY, print_json
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import WorldTime, parse_device_time
from smgw_emu.profiles import DEFAULT_PROFILE, ProfileError, available, load

_CONSUMER = re.compile(r"[a-z0-9][a-z0-9-]{0,30}", re.ASCII)


def free_port(wanted: int) -> int:
    """Return the wanted port, or the next one nobody listens on; 0 stays 0 (chosen at start)."""
    for port in range(wanted, min(wanted + 50, 65536)) if wanted else ():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    return wanted


def parse_moment(text: str | None) -> WorldTime | None:
    """Read ``--start``: a date-time of IF_GW_CON, or a date."""
    if not text:
        return None
    try:
        if "T" not in text:
            text = datetime.strptime(text, "%Y-%m-%d").strftime("%Y-%m-%dT00:00:00Z")  # noqa: DTZ007
        return WorldTime(parse_device_time(text).ns)
    except Exception as error:
        raise ConfigError(f"not a date or date-time: {text!r}") from error


@click.command("init")
@click.argument("directory", type=DIRECTORY)
@click.option("--id", "gateway_id", default="", help="Device id (a random TEST id).")
@click.option("--profile", default=DEFAULT_PROFILE, show_default=True, help="Firmware profile.")
@click.option("--list-profiles", is_flag=True, help="List the firmware profiles and stop.")
@click.option("--consumer", default="consumer1", show_default=True, help="Login of the consumer.")
@click.option("--password", default="", envvar="SMGW_PASSWORD", help="His password (random).")
@click.option(
    "--meter",
    "meter_source",
    default="",
    help="Where meter bytes come from: serial device, tcp://host:port, or a recording.",
)
@click.option("--meter-id", default="", help="Device id of the meter (read from a recording).")
@click.option("--lmn", "lmn_port", default="", metavar="PORT",
              help="Port of wired meters: serial device, pty or tcp://host:port.")  # fmt: skip
@click.option("--wired", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Meters on it: the note of `smgw meter wired --note`.")  # fmt: skip
@click.option("--radio", "radio_port", default="", metavar="PORT",
              help="Radio receiver: /dev/ttyUSB0?stick=im871a (amb8465, cul, rc1180, rtl_wmbus,"
              " hex), a pty or tcp://host:port.")  # fmt: skip
@click.option("--wireless", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Its meters: the note of `smgw meter wireless --note`.")  # fmt: skip
@click.option("--contracts", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="More contracts: a TOML file such as examples/tariffs.toml.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="HAN address.")
@click.option("--han-port", default=8443, show_default=True, type=click.IntRange(0, 65535))
@click.option("--control-port", default=8460, show_default=True, type=click.IntRange(0, 65535))
@click.option("--wakeup-port", default=8470, show_default=True, type=click.IntRange(0, 65535))
@click.option("--strict-module", is_flag=True, help="Ephemeral keys inside the security module.")
@click.option("--pkcs11", default="", help="PKCS#11 library: a token as security module.")
@click.option("--token", default="", help="Label of the token.")
@click.option("--token-pin", default="", envvar="SMGW_TOKEN_PIN", help="Its user PIN.")
@click.option("--seed", default="", help="Reproducible security module; its keys are no secret.")
@click.option("--start", default="", help="Begin of contracts and certificates (now).")
@click.option(
    "--factory",
    type=click.Path(path_type=Path, exists=True),
    help="Only what a factory leaves in it: seal certificates and the administrator of this"
    " directory (smgw gwa init) or card (administrator.json, needs --pki).",
)
@click.option("--pki", "pki_folder", type=DIRECTORY, help="With a card: issues the certificates.")
def command(
    directory: Path,
    gateway_id: str,
    profile: str,
    list_profiles: bool,
    consumer: str,
    password: str,
    meter_source: str,
    meter_id: str,
    lmn_port: str,
    wired: Path | None,
    radio_port: str,
    wireless: Path | None,
    contracts: Path | None,
    host: str,
    han_port: int,
    control_port: int,
    wakeup_port: int,
    strict_module: bool,
    pkcs11: str,
    token: str,
    token_pin: str,
    seed: str,
    start: str,
    factory: Path | None,
    pki_folder: Path | None,
) -> None:
    """Make a new TEST gateway in DIRECTORY: id, keys, HAN certificate, consumer, meter, contracts.

    Ports in use are replaced by the next free one; 0 takes a free port at each start. What a
    script needs to get in stands in DIRECTORY/access.json.
    """
    from smgw_emu.lab.meter_note import read_meter_notes
    from smgw_emu.lab.provision import Plan, create_gateway
    from smgw_emu.lmn_side import stick_of

    if list_profiles:
        click.echo("\n".join(available()))
        return
    if not _CONSUMER.fullmatch(consumer):
        raise ConfigError(f"consumer {consumer!r}: login must match {_CONSUMER.pattern}")
    try:
        load(profile)
    except ProfileError as error:
        raise ConfigError(str(error)) from error
    stick_of(radio_port)
    if factory is not None:
        from smgw_emu.cli.factory import make

        make(
            directory,
            factory,
            pki_folder,
            now=parse_moment(start) or WorldTime(time.time_ns()),
            gateway_id=gateway_id,
            profile=profile,
            lines=(meter_source,) if meter_source else (),
            lmn_port=lmn_port,
            radio_port=radio_port,
            host=host,
            han_port=free_port(han_port),
            control_port=free_port(control_port),
            wakeup_port=free_port(wakeup_port),
            seed=seed,
            strict_module=strict_module,
        )
        return
    plan = Plan(
        now=parse_moment(start) or WorldTime(time.time_ns()),
        gateway_id=gateway_id,
        profile=profile,
        consumer=consumer,
        password=password,
        meter_id=meter_id,
        meter_source=meter_source,
        contracts=contracts,
        lmn_port=lmn_port,
        radio_port=radio_port,
        meters=read_meter_notes((wired, wireless)),
        han_host=host,
        han_port=free_port(han_port),
        control_port=free_port(control_port),
        wakeup_port=free_port(wakeup_port),
        strict_module=strict_module,
        pkcs11=pkcs11,
        token=token,
        token_pin=token_pin,
        seed=seed,
    )
    access = create_gateway(directory, plan)
    print_json(
        {
            "directory": str(directory),
            "access": str(directory / "access.json"),
            "han": f"https://{access.han.host}:{access.han.port}",
            "control": access.control.url,
            "user": access.han.user,
        }
    )
    click.echo(f"next: smgw run {directory}", err=True)
