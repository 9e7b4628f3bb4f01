"""The chain of checks at start: loader, kernel, root file system, application.

Theory of operation. Each stage checks the next before it hands over; what a failed check means is
in the manual: a kernel image or rootfs that is missing or corrupt, or an active version that is
not the expected one, is Secure State Boot (D-2.1); security checks that fail otherwise end the boot
before normal operation, and the device starts again (D-2.5). The manual does not say which of the
two a wrong signature is; a check of authenticity is taken for a security check here (named by
requirements 2.7 no. 4, F09).

========== ============================================== ===================
stage      check                                          failure
========== ============================================== ===================
loader     no latched failure, boot record readable       Secure State Boot
loader     active partition holds a package               Secure State Boot
loader     signed by the manufacturer                     cyclic restart
loader     kernel: octets and SHA-256                     Secure State Boot
kernel     rootfs: octets and SHA-256                     Secure State Boot
kernel     made for this product                          cyclic restart
kernel     version is the expected one                    Secure State Boot
rootfs     application: octets and SHA-256                cyclic restart
rootfs     behaviour profile readable                     cyclic restart
========== ============================================== ===================

The age of a faulty inactive partition needs the device clock: :mod:`firmware.update` looks at it
after the start and from then on.
"""

from __future__ import annotations

from dataclasses import dataclass

from firmware.flash import BootRecord, Flash, FlashError
from firmware.package import APPLICATION, KERNEL, ROOTFS, Manifest, Package, PackageError
from secure_state.machine import Cause
from smgw_emu.core.errors import SmgwError
from smgw_emu.profiles import Profile, ProfileError, load_text


class BootError(SmgwError):
    """The chain ended.

    Attributes:
        cause: what that means for the device.
        stage: who found it.
    """

    def __init__(self, cause: Cause, stage: str, reason: str) -> None:
        super().__init__(f"{stage}: {reason}")
        self.cause = cause
        self.stage = stage


@dataclass(frozen=True, slots=True)
class Booted:
    """What runs.

    Attributes:
        record: boot record it was started with.
        manifest: of the active partition.
        profile: behaviour the application brings.
    """

    record: BootRecord
    manifest: Manifest
    profile: Profile


def boot(flash: Flash) -> Booted:
    """Run the chain.

    Raises:
        BootError: a check failed.
    """
    try:
        record = flash.record()
        trusted = flash.trusted()
    except FlashError as error:
        raise BootError(Cause.IMAGE, "loader", str(error)) from error
    for name, text in record.failed.items():
        cause = Cause(name) if name in set(Cause) else Cause.IMAGE  # a damaged record
        raise BootError(cause, "loader", text)
    try:
        package = flash.open(record.active, trusted)
    except PackageError as error:
        found = Cause.IMAGE if error.damaged else Cause.BOOT_CHECK
        raise BootError(found, "loader", str(error)) from error
    with package.file:
        return _start(package, record)


def _start(package: Package, record: BootRecord) -> Booted:
    manifest = package.manifest
    for stage, image in (("loader", KERNEL), ("kernel", ROOTFS)):
        finding = package.finding(image)
        if finding:
            raise BootError(Cause.IMAGE, stage, finding)
    if manifest.product != record.product:
        reason = f"made for {manifest.product}, this is {record.product}"
        raise BootError(Cause.BOOT_CHECK, "kernel", reason)
    if manifest.version != record.expected:
        reason = f"version {manifest.version} is active, {record.expected} is expected"
        raise BootError(Cause.VERSION, "kernel", reason)
    finding = package.finding(APPLICATION)
    if finding:
        raise BootError(Cause.BOOT_CHECK, "rootfs", finding)
    try:
        profile = profile_of(package)
    except ProfileError as error:
        raise BootError(Cause.BOOT_CHECK, "rootfs", str(error)) from error
    return Booted(record, manifest, profile)


def profile_of(package: Package) -> Profile:
    """Return the behaviour profile in the application image.

    Raises:
        ProfileError: it cannot be read.
    """
    try:
        text = package.read(APPLICATION).decode()
    except UnicodeDecodeError as error:
        raise ProfileError(f"application image: {error}") from error
    return load_text(text, package.manifest.version)


def installed_profile(flash: Flash) -> Profile | None:
    """Return the profile of the active partition without any check, None if there is none.

    Lamps and time-outs of a device that does not boot still need one.
    """
    try:
        package = flash.open(flash.record().active, None)
        with package.file:
            return profile_of(package)
    except (FlashError, PackageError, ProfileError):
        return None
