"""``smgw steuerbox``: a controllable system behind the gateway."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smgw_emu.cli.common import DIRECTORY, configure_log, stop_event
from smgw_emu.core.errors import ConfigError

if TYPE_CHECKING:
    from smgw_emu.bench.cls.steuerbox import Way

KEY, CERTIFICATE = "box.key", "box.pem"


@click.group("steuerbox")
def command() -> None:
    """Act as a controllable system (CLS): relays, a power limit, failsafe.

    \b
    First steps:
      smgw steuerbox new box1                key and certificate, and what to tell the gateway
      smgw steuerbox run box1 --gateway gw --socks 127.0.0.1:1080 --name aemt.netz
    """  # noqa: D301


@command.command("new")
@click.argument("directory", type=DIRECTORY)
@click.option("--name", default="", help="Its id (default: the directory's name).")
def new(directory: Path, name: str) -> None:
    """Make key and HAN certificate of a box in DIRECTORY.

    Prints the profile a gateway needs: `smgw gwa profile ID cls DIRECTORY/cls.toml`.
    """
    from hsm_sim.files import write_private
    from smgw_emu.bench.pki.cls import fingerprint, issue_cls_key

    name = name or directory.name.lower()
    if (directory / KEY).exists():
        raise ConfigError(f"{directory} has a key already")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = issue_cls_key(name)
        write_private(directory / KEY, made.key_pem())
        (directory / CERTIFICATE).write_bytes(made.chain_pem)
        profile = f'name = "{name}"\ncertificates = ["{fingerprint(made)}"]\n'
        (directory / "cls.toml").write_text(profile, "utf-8")
    except (OSError, UnicodeEncodeError) as error:
        raise ConfigError(f"cannot make {directory}: {error}") from error
    click.echo(profile, nl=False)
    click.echo(f"written to {directory / 'cls.toml'}", err=True)


@command.command("run")
@click.argument("directory", type=DIRECTORY)
@click.option("--gateway", type=click.Path(path_type=Path, exists=True), required=True,
              help="Its directory, or its HAN certificate (PEM or DER).")  # fmt: skip
@click.option("--socks", metavar="HOST:PORT", help="Ask there for a channel by SOCKS (HKS3).")
@click.option("--sni", metavar="HOST:PORT", help="Ask there by TLS server name (HKS3).")
@click.option("--listen", metavar="HOST:PORT", help="Wait there for the gateway (HKS4, HKS5).")
@click.option("--name", default="", help="Server name of the channel that is asked for.")
@click.option("--forward", metavar="HOST:PORT", help="Pass the octets on to this TCP server.")
@click.option("--failsafe-w", default=4200, show_default=True, help="Limit when it is alone.")
@click.option("--failsafe-s", default=7200, show_default=True, help="For so long.")
@click.option("--lost-s", default=120, show_default=True, help="Alone after so much silence.")
@click.option("--preset", type=click.Choice(["han-conexa", "han-tr2025"]), default="han-conexa",
              show_default=True, help="TLS settings.")  # fmt: skip
@click.option("--log-level", default="info", show_default=True)
def run(
    directory: Path, gateway: Path, socks: str | None, sni: str | None, listen: str | None,
    name: str, forward: str | None, failsafe_w: int, failsafe_s: int, lost_s: int, preset: str,
    log_level: str,
) -> None:  # fmt: skip
    """Run the box in DIRECTORY until it is interrupted; prints every change of its state."""
    from smgw_emu.bench.cls.box import Settings
    from smgw_emu.bench.cls.steuerbox import Way
    from smgw_emu.core.cls_profiles import parse_place

    configure_log(log_level)
    given = {"socks": socks, "sni": sni, "listen": listen}
    chosen = [(mode, place) for mode, place in given.items() if place]
    if len(chosen) != 1:
        raise click.UsageError("one of --socks, --sni and --listen is needed")
    mode, place = chosen[0]
    if mode != "listen" and not name:
        raise click.UsageError("--name: what the gateway's proxy profile calls the EMT")
    far = parse_place(forward) if forward else None
    way = Way(mode, *parse_place(place), _han(gateway), name, preset, far)  # type: ignore[arg-type]
    asyncio.run(_run(directory, way, Settings(failsafe_w, failsafe_s, lost_s)))


def _han(place: Path) -> bytes:
    """Return a gateway's HAN certificate in DER."""
    import ssl

    file = place / "certs" / "han.der" if place.is_dir() else place
    try:
        data = file.read_bytes()
        return ssl.PEM_cert_to_DER_cert(data.decode()) if b"-----BEGIN" in data else data
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the gateway's certificate {file}: {error}") from error


def _identity(directory: Path) -> object:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from smgw_emu.bench.pki import Identity

    try:
        key = load_pem_private_key((directory / KEY).read_bytes(), None)
        certificate = x509.load_pem_x509_certificate((directory / CERTIFICATE).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no box in {directory}: {error} (smgw steuerbox new makes one)"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{directory / KEY} is no EC key")
    return Identity(certificate, (), key)


async def _run(directory: Path, way: Way, settings: object) -> None:
    from smgw_emu import profiles
    from smgw_emu.bench.cls.box import Box
    from smgw_emu.bench.cls.steuerbox import Steuerbox
    from smgw_emu.transport.clock import SystemClock

    clock, stop = SystemClock(asyncio.get_running_loop()), stop_event()
    box = Box(settings, clock.now())  # type: ignore[arg-type]
    limits = profiles.load().tls
    steuerbox = Steuerbox(
        box, _identity(directory), way, clock, limits, random.SystemRandom().uniform  # type: ignore[arg-type]
    )  # fmt: skip
    host, port = await steuerbox.start()
    click.echo(f"{way.mode} {host}:{port}")
    click.echo("ready")
    shown = 0
    try:
        while not stop.is_set():
            for moment, state, limit in box.history[shown:]:
                click.echo(json.dumps({"time": moment.iso(), "state": state, "limit": limit,
                            "relays": box.relays}))  # fmt: skip
            shown = len(box.history)
            try:
                await asyncio.wait_for(stop.wait(), 0.2)
            except TimeoutError:
                continue
    finally:
        await steuerbox.stop()
