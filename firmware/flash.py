"""The flash of the device: two partitions and the boot record.

======================== ==========================================================
file                     content
======================== ==========================================================
``a.fw``, ``b.fw``       a package each (manual D-2.1: active and inactive partition)
``boot.json``            boot record: what the loader starts, and what it expects
``manufacturer.der``     certificate whose signatures count, from production on
======================== ==========================================================

The boot record is replaced as a whole (write beside, sync, rename), so a power cut leaves the old
one or the new one. A partition is written in place, as a partition is: cut off in the middle it is
faulty, and the chain of checks says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, Protocol

import msgspec

from firmware.package import BLOCK, Package, PackageError, open_package
from hsm_sim.files import write_private
from smgw_emu.core.errors import ConfigError, SmgwError
from smgw_emu.core.instants import LATEST
from wan.cms import Trust

Slot = Literal["a", "b"]
Moment = Annotated[int, msgspec.Meta(ge=0, le=LATEST)]
RECORD, CERTIFICATE = "boot.json", "manufacturer.der"


class UpdateState(StrEnum):
    """States of the update (requirements 2.7)."""

    IDLE = "idle"
    RECEIVING = "receiving"
    VERIFIED = "verified"
    STAGED = "staged"
    SCHEDULED = "scheduled"
    BOOTING = "booting"
    CONFIRMED = "confirmed"
    FAILED = "failed"


class FlashError(SmgwError):
    """The boot record cannot be used."""


class BootRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the loader keeps. Moments are device time in nanoseconds.

    Attributes:
        product: model of the hardware.
        active: partition that is started.
        expected: version that must be found there (GW-84); kept outside the image.
        confirmed: newest version that has run; an older one is refused (F07).
        previous: version before the last switch, until it is confirmed; "" otherwise.
        fallback: a switch that does not start goes back (requirements 2.7: not documented).
        update: state of the update.
        image: name of the image the update is about.
        due: when the staged partition is to be activated.
        faulty_since: since when the inactive partition is faulty (SEC-04).
        faulty: what is wrong with it.
        warned: days of age a warning was given for.
        failed: causes of Secure State Boot that a restart does not end (SEC-08).
    """

    product: str = ""
    active: Slot = "a"
    expected: str = ""
    confirmed: str = ""
    previous: str = ""
    fallback: bool = False
    update: UpdateState = UpdateState.IDLE
    image: str = ""
    due: Moment | None = None
    faulty_since: Moment | None = None
    faulty: str = ""
    warned: int = 0
    failed: dict[str, str] = {}

    @property
    def inactive(self) -> Slot:
        """The other partition."""
        return "b" if self.active == "a" else "a"


class Disk(Protocol):
    """How octets reach the medium; a test cuts the power between any two of them."""

    def write(self, path: Path, blocks: Iterator[bytes]) -> None:
        """Write a file in place from its beginning, and sync it."""

    def replace(self, path: Path, data: bytes) -> None:
        """Replace a file as a whole, durably."""


class FileDisk:
    """The host's file system."""

    def write(self, path: Path, blocks: Iterator[bytes]) -> None:
        """Write a file in place."""
        with path.open("wb") as file:
            for block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    def replace(self, path: Path, data: bytes) -> None:
        """Write beside, sync, rename, sync the directory."""
        write_private(path, data)


class Flash:
    """The flash of one gateway.

    Args:
        directory: where it lies.
        disk: how it is written.
    """

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self.directory = directory
        self._disk: Disk = disk if disk is not None else FileDisk()

    # -- boot record -------------------------------------------------------------------------

    def record(self) -> BootRecord:
        """Return the boot record.

        Raises:
            FlashError: missing or damaged.
        """
        try:
            return msgspec.json.decode((self.directory / RECORD).read_bytes(), type=BootRecord)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FlashError(f"boot record: {error}") from error

    def save(self, record: BootRecord) -> None:
        """Put a boot record in the place of the old one."""
        self._disk.replace(self.directory / RECORD, msgspec.json.encode(record))

    def change(self, **changes: object) -> BootRecord:
        """Change fields of the boot record; returns the new one."""
        record = msgspec.structs.replace(self.record(), **changes)
        self.save(record)
        return record

    # -- partitions --------------------------------------------------------------------------

    def path(self, slot: Slot) -> Path:
        """Return the file of a partition."""
        return self.directory / f"{slot}.fw"

    def trusted(self) -> dict[bytes, Trust]:
        """Return whose signatures count.

        Raises:
            FlashError: the manufacturer's certificate is missing or damaged.
        """
        try:
            trust = Trust((self.directory / CERTIFICATE).read_bytes())
            key_id = trust.key_id
        except (OSError, ValueError) as error:
            raise FlashError(f"manufacturer's certificate: {error}") from error
        return {key_id: trust}

    def open(self, slot: Slot, trusted: dict[bytes, Trust] | None) -> Package:
        """Open the package in a partition; who opens it closes its file.

        Raises:
            PackageError: nothing there, damaged, or not the manufacturer's.
        """
        try:
            file: BinaryIO = self.path(slot).open("rb")
        except OSError as error:
            raise PackageError(f"partition {slot.upper()}: {error.strerror}") from error
        try:
            return open_package(file, trusted)
        except BaseException:
            file.close()
            raise

    def is_empty(self, slot: Slot) -> bool:
        """Whether nothing was ever written there."""
        return not self.path(slot).exists()

    def fault(self, slot: Slot) -> str:
        """Return what is wrong with the package in a partition, "" if nothing is."""
        try:
            package = self.open(slot, self.trusted())
            with package.file:
                package.check()
        except (PackageError, FlashError) as error:
            return str(error)
        return ""

    def write(self, slot: Slot, source: BinaryIO) -> None:
        """Copy a package into a partition."""
        source.seek(0)
        self._disk.write(self.path(slot), iter(lambda: source.read(BLOCK), b""))

    def version(self, slot: Slot) -> str:
        """Return what version a partition says it holds, "" if it cannot be read; for people."""
        try:
            package = self.open(slot, None)
        except PackageError:
            return ""
        with package.file:
            return package.manifest.version


def install(directory: Path, package: bytes, certificate: bytes) -> None:
    """Write a device's flash anew, as the manufacturer's workbench does (SEC-08).

    Raises:
        ConfigError: the package is not signed with that certificate, or not whole.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / CERTIFICATE).write_bytes(certificate)
    flash = Flash(directory)
    for slot in ("a", "b"):
        flash.path(slot).unlink(missing_ok=True)
    flash.path("a").write_bytes(package)
    fault = flash.fault("a")
    if fault:
        raise ConfigError(f"firmware: {fault}")
    written = flash.open("a", None)
    with written.file:
        manifest = written.manifest
    flash.save(
        BootRecord(product=manifest.product, expected=manifest.version, confirmed=manifest.version)
    )
