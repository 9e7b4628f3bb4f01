"""Firmware the laboratory makes: packages of a behaviour profile, and what a workbench does.

Kernel image and root file system are octets without a meaning, the same for the same version; the
application image is the behaviour profile as TOML.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from firmware.flash import Flash, FlashError, Slot, install
from firmware.package import (
    APPLICATION,
    KERNEL,
    ORDER,
    ROOTFS,
    Manifest,
    PackageError,
    build,
    sign_package,
)
from smgw_emu.bench.pki.manufacturer import Manufacturer
from smgw_emu.core.errors import ConfigError
from smgw_emu.lab.config_text import quoted
from smgw_emu.profiles import DEFAULT_PROFILE, load, load_text

KERNEL_OCTETS, ROOTFS_OCTETS = 24_576, 49_152  # own choice: small enough for a fleet
FLASH = "flash"


def filler(name: str, version: str, octets: int) -> bytes:
    """Return octets for an image nobody runs."""
    return hashlib.shake_256(f"TEST {name} {version}".encode()).digest(octets)


def application_of(profile: str) -> bytes:
    """Return the application image that behaves like a built-in profile."""
    return f"name = {quoted(profile)}\nextends = {quoted(profile)}\n".encode()


def package_of(
    profile: str = DEFAULT_PROFILE,
    version: str = "",
    *,
    application: bytes = b"",
    kernel: bytes = b"",
    rootfs: bytes = b"",
    kind: str = "functional",
    min_version: str = "",
    built: str = "",
) -> bytes:
    """Return an unsigned package.

    Args:
        profile: built-in profile whose behaviour it brings.
        version: of the package; default: the profile's.
        application: TOML of an own profile instead.
        kernel: image instead of filler.
        rootfs: image instead of filler.
        kind: security or functional.
        min_version: oldest active version it may follow.
        built: when, for people.

    Raises:
        ConfigError: a value cannot be used.
    """
    shown = load_text(application.decode(), version or "v0.0.0") if application else load(profile)
    version = version or shown.device.firmware_version
    images = {
        KERNEL: kernel or filler(KERNEL, version, KERNEL_OCTETS),
        ROOTFS: rootfs or filler(ROOTFS, version, ROOTFS_OCTETS),
        APPLICATION: application or application_of(profile),
    }
    if kind not in {"security", "functional"}:
        raise ConfigError(f"kind is security or functional, not {kind!r}")
    manifest = Manifest(shown.device.model, version, kind, min_version, built)  # type: ignore[arg-type]
    return build(manifest, images)


@lru_cache(maxsize=16)
def _factory_package(profile: str) -> bytes:
    return package_of(profile)


def install_firmware(directory: Path, profile: str, manufacturer: Manufacturer) -> None:
    """Write a new device's flash: the package of a profile, signed."""
    package = sign_package(_factory_package(profile), manufacturer.signer())
    install(directory / FLASH, package, manufacturer.certificate_der)


# -- what a lab does to a device ---------------------------------------------------------------


def corrupt(flash: Flash, slot: Slot, image: str) -> None:
    """Turn one bit of an image in a partition.

    Raises:
        ConfigError: there is no such image.
    """
    if image not in ORDER:
        raise ConfigError(f"no image {image!r}; there are: {', '.join(ORDER)}")
    try:
        package = flash.open(slot, None)
    except PackageError as error:
        raise ConfigError(str(error)) from error
    with package.file:
        offset = package.start
        for item in package.manifest.images:
            if item.name == image:
                break
            offset += item.octets
    with flash.path(slot).open("r+b") as file:
        file.seek(offset)
        octet = file.read(1)[0]
        file.seek(offset)
        file.write(bytes((octet ^ 1,)))


def swap(flash: Flash) -> None:
    """Make the other partition active without telling what to expect (F07: forced swap).

    Raises:
        ConfigError: the boot record cannot be read.
    """
    try:
        flash.change(active=flash.record().inactive)
    except FlashError as error:
        raise ConfigError(str(error)) from error
