"""``smgw firmware``: build, sign and look at packages, see and repair a device's partitions."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from smgw_emu.cli import UnreachableError
from smgw_emu.cli.common import DIRECTORY, post_control, print_json
from smgw_emu.core.errors import ConfigError
from smgw_emu.profiles import DEFAULT_PROFILE

if TYPE_CHECKING:
    from smgw_emu.bench.pki.manufacturer import Manufacturer

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
NEW = click.Path(path_type=Path, dir_okay=False)
_KEY = click.option(
    "--key",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the manufacturer's key: <gateway>/lab-pki, or the PKI of a GWA.",
)


def _manufacturer(folder: Path) -> Manufacturer:
    from smgw_emu.bench.pki.folder import open_manufacturer

    return open_manufacturer(folder)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _read(path: Path | None) -> bytes:
    if path is None:
        return b""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


@click.group("firmware")
def command() -> None:
    """Build, sign and look at firmware packages; see and repair a device's partitions.

    \b
    A new version for a gateway made by `smgw init gateway`:
      smgw firmware build new.fw --version v3.88.0-cc --key gateway/lab-pki
      smgw firmware show new.fw
      smgw gwa firmware DEVICE new.fw --activate
    """  # noqa: D301  # \\b is click's mark for text not to be wrapped


@command.command("build")
@click.argument("package", type=NEW)
@click.option("--version", default="", help="Version (default: the profile's).")
@click.option("--profile", default=DEFAULT_PROFILE, show_default=True,
              help="Behaviour it brings: a built-in profile.")  # fmt: skip
@click.option("--application", type=FILE, help="Behaviour of one's own: a profile as TOML.")
@click.option("--kernel", type=FILE, help="Kernel image (default: octets without a meaning).")
@click.option("--rootfs", type=FILE, help="Root file system (default: likewise).")
@click.option("--kind", type=click.Choice(["functional", "security"]), default="functional",
              show_default=True)  # fmt: skip
@click.option("--min-version", default="", help="Oldest active version it may follow.")
@_KEY
def build(
    package: Path,
    version: str,
    profile: str,
    application: Path | None,
    kernel: Path | None,
    rootfs: Path | None,
    kind: str,
    min_version: str,
    key: Path | None,
) -> None:
    """Write a new PACKAGE, signed if a key is given."""
    from firmware.package import sign_package
    from smgw_emu.lab.firmware import package_of
    from smgw_emu.profiles import ProfileError

    try:
        data = package_of(
            profile,
            version,
            application=_read(application),
            kernel=_read(kernel),
            rootfs=_read(rootfs),
            kind=kind,
            min_version=min_version,
            built=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
    except (ProfileError, UnicodeDecodeError) as error:
        raise ConfigError(str(error)) from error
    if key is not None:
        data = sign_package(data, _manufacturer(key).signer())
    _write(package, data)
    signed = "signed" if key is not None else "NOT signed (smgw firmware sign)"
    click.echo(f"{package}  {len(data)} octets, {signed}")


@command.command("sign")
@click.argument("package", type=FILE)
@click.option("--key", type=click.Path(path_type=Path, exists=True, file_okay=False),
              required=True, help="Folder of the manufacturer's key.")  # fmt: skip
def sign(package: Path, key: Path) -> None:
    """Sign PACKAGE in place; an older signature is replaced."""
    from firmware.package import sign_package

    _write(package, sign_package(_read(package), _manufacturer(key).signer()))
    click.echo(f"{package}  signed")


@command.command("show")
@click.argument("package", type=FILE)
@_KEY
def show(package: Path, key: Path | None) -> None:
    """Show what PACKAGE says of itself, whether its images are whole, and who signed it.

    Exit code 1 if something is wrong with it.
    """
    from firmware.package import PackageError, open_package

    with package.open("rb") as file:
        opened = open_package(file, None)
        told: dict[str, Any] = msgspec.to_builtins(opened.manifest)
        told["hash"] = opened.manifest.hash
        findings = [opened.finding(image.name) for image in opened.manifest.images]
        told["images_whole"] = not any(findings)
        told["findings"] = [finding for finding in findings if finding]
        if key is not None:
            from wan.cms import Trust

            trust = Trust(_manufacturer(key).certificate_der)
            try:
                open_package(file, {trust.key_id: trust})
                told["signature"] = "the manufacturer's"
            except PackageError as error:
                told["signature"] = str(error)
                told["findings"].append(str(error))
    print_json(told)
    if told["findings"]:
        raise click.exceptions.Exit(1)


@command.command("status")
@click.argument("directory", type=DIRECTORY)
def status(directory: Path) -> None:
    """Show partitions, boot record and update of the device in DIRECTORY, running or not."""
    from firmware.flash import Flash

    flash = Flash(directory / "flash")
    record = flash.record()
    for slot in ("a", "b"):
        fault = "" if flash.is_empty(slot) else flash.fault(slot)
        version = flash.version(slot) or "-"
        role = "active" if slot == record.active else "inactive"
        state = "empty" if flash.is_empty(slot) else (fault or "whole")
        click.echo(f"{slot.upper()}  {role:9}{version:14}{state}")
    click.echo(f"expected {record.expected}, update {record.update}")
    for cause, text in record.failed.items():
        click.echo(f"LATCHED {cause}: {text}")


@command.command("corrupt")
@click.argument("directory", type=DIRECTORY)
@click.argument("partition", type=click.Choice(["a", "b"]))
@click.argument("image", type=click.Choice(["kernel", "rootfs", "application"]))
def corrupt(directory: Path, partition: str, image: str) -> None:
    """Turn one bit of an IMAGE in a PARTITION; the next start or self-test sees it."""
    from firmware.flash import Flash
    from smgw_emu.lab.firmware import corrupt as turn

    turn(Flash(directory / "flash"), partition, image)  # type: ignore[arg-type]
    click.echo(f"{partition.upper()}  {image}: one bit turned")


@command.command("repair")
@click.argument("directory", type=DIRECTORY)
@click.argument("package", type=FILE)
@click.option(
    "--wipe", is_flag=True, help="Empty values and logs too: a device as from the factory."
)
def repair(directory: Path, package: Path, wipe: bool) -> None:
    """Write the flash anew, as the manufacturer's workbench does: the way out of Secure State Boot.

    The device must be off, or in a state without any function; `smgw power cycle` boots it then.
    """
    from firmware.flash import CERTIFICATE, install

    try:
        state = post_control(directory, "power", {})
    except UnreachableError:
        state = {"phase": "off", "secure_state": ""}
    if state["phase"] != "off" and state["secure_state"] not in {"boot", "cyclic-restart"}:
        raise ConfigError("the device is running; smgw power off switches it off")
    flash = directory / "flash"
    install(flash, _read(package), _read(flash / CERTIFICATE))
    if wipe:
        for path in directory.glob("state.db*"):
            path.unlink()
    click.echo(f"{directory}  flash written anew")
