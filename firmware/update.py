"""The firmware update as the administrator drives it (WAF1: load, verify, activate).

Theory of operation. Blocks of an image arrive in the transfer area. *Verify* checks the
manufacturer's signature, the product and the version, all before a partition is touched: what fails
here is refused and leaves the device as it was (F01, F07). Then the package is written into the
inactive partition and read back; what fails there is a *faulty inactive partition*, whose age is
counted from that moment (F02, GW-83). *Activate* sets a moment; when it comes, the boot record is
switched in one step and the device starts again (F06). The start self-test of the new version
*confirms* it; an older version is refused from then on.

A power cut at any octet leaves the active partition and the boot record whole. An interrupted
transfer goes on where it stopped; an interrupted write leaves a faulty inactive partition, found at
the next start.

A faulty inactive partition is told at the ages of ``warn_days`` and ends operation after
``stale_days`` (Secure State Boot, SEC-04); a good package written before that ends the fault (F04).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from firmware.flash import BootRecord, Flash, FlashError
from firmware.flash import UpdateState as State
from firmware.package import Package, PackageError, open_package, version_key
from smgw_emu.core.errors import LocalProtocolError
from smgw_emu.core.images import ImageError, ImageStore
from smgw_emu.core.instants import DAY, DeviceTime
from smgw_emu.core.logbook import Logbooks
from smgw_emu.profiles import Firmware


class Input(StrEnum):
    """What can happen."""

    BLOCK = "block"
    REFUSED = "refused"
    ACCEPTED = "accepted"
    WRITTEN = "written"
    DAMAGED = "damaged"
    ORDERED = "activation ordered"
    DUE = "due"
    RUNNING = "new version runs"
    FELL_BACK = "new version does not start"


_RESTING = (State.IDLE, State.RECEIVING, State.STAGED, State.CONFIRMED, State.FAILED)
TABLE: Mapping[tuple[State, Input], State] = MappingProxyType(
    {
        **{(state, Input.BLOCK): State.RECEIVING for state in _RESTING},
        **{(state, Input.ACCEPTED): State.VERIFIED for state in _RESTING},
        (State.RECEIVING, Input.REFUSED): State.FAILED,
        (State.VERIFIED, Input.WRITTEN): State.STAGED,
        (State.VERIFIED, Input.DAMAGED): State.FAILED,
        (State.STAGED, Input.DAMAGED): State.FAILED,
        (State.STAGED, Input.ORDERED): State.SCHEDULED,
        (State.SCHEDULED, Input.DAMAGED): State.FAILED,
        (State.SCHEDULED, Input.DUE): State.BOOTING,
        (State.BOOTING, Input.RUNNING): State.CONFIRMED,
        (State.BOOTING, Input.FELL_BACK): State.FAILED,
    }
)

# image_transfer_status of IEC 62056-6-2 class 18
STATUS = {
    State.IDLE: 0, State.RECEIVING: 1, State.VERIFIED: 2, State.STAGED: 3, State.FAILED: 4,
    State.SCHEDULED: 5, State.BOOTING: 5, State.CONFIRMED: 6,
}  # fmt: skip


class Due(StrEnum):
    """What a deadline asks of the device."""

    NOTHING = "nothing"
    RESTART = "restart into the other partition"
    STALE = "Secure State Boot"


class Updater:
    """The update of one device.

    Args:
        flash: partitions and boot record.
        images: the transfer area.
        settings: of the profile.
        product: the device's model.
        logbooks: every step is logged.
    """

    def __init__(
        self,
        flash: Flash,
        images: ImageStore,
        settings: Firmware,
        product: str,
        logbooks: Logbooks,
    ) -> None:
        self._flash = flash
        self._images = images
        self._settings = settings
        self._product = product
        self._logbooks = logbooks
        self.record: BootRecord = flash.record()

    @property
    def state(self) -> State:
        """Where the update is."""
        return self.record.update

    @property
    def status(self) -> int:
        """``image_transfer_status`` of IEC 62056-6-2 class 18."""
        return STATUS[self.state]

    def _save(self, event: Input | None = None, **changes: object) -> None:
        if event is not None:
            following = TABLE.get((self.state, event))
            if following is None:
                raise LocalProtocolError(f"firmware update: {event} in state {self.state}")
            changes["update"] = following
        self.record = self._flash.change(**changes)

    def _log(self, name: str, now: DeviceTime, outcome: str = "S", **parameters: object) -> None:
        self._logbooks.write(name, now, outcome=outcome, **parameters)  # type: ignore[arg-type]

    # -- load --------------------------------------------------------------------------------

    def block(self, name: str) -> None:
        """A block of an image has come; a scheduled activation is not disturbed."""
        if (self.state, Input.BLOCK) in TABLE and (
            self.state is not State.RECEIVING or self.record.image != name
        ):
            self._save(Input.BLOCK, image=name)

    # -- verify ------------------------------------------------------------------------------

    def verify(self, name: str, announced: bytes, now: DeviceTime) -> str:
        """Check an image and write it into the inactive partition; returns why not, "" if done."""
        if (self.state, Input.ACCEPTED) not in TABLE:
            return f"an update is {self.state}"
        try:
            file = self._images.open(name)
        except ImageError as error:
            return str(error)
        with file:
            try:
                package = open_package(file, self._flash.trusted())
                self._check_origin(package)
            except (PackageError, FlashError) as error:
                self._refuse(name, str(error), now)
                return str(error)
            self._save(Input.ACCEPTED, image=name)
            self._flash.write(self.record.inactive, file)
        fault = self._written_fault(announced)
        if fault:
            self._damaged(fault, now)
            return fault
        was = self.record.faulty_since
        self._save(Input.WRITTEN, faulty_since=None, faulty="", warned=0)
        manifest = package.manifest
        self._log("firmware-verified", now, image=name, version=manifest.version,
                  kind=manifest.kind, result="Signatur und Prüfsummen stimmen")  # fmt: skip
        if was is not None:
            self._log("firmware-repaired", now, partition=self.record.inactive.upper())
        return ""

    def _check_origin(self, package: Package) -> None:
        """Product and version, before anything is written.

        Raises:
            PackageError: not for this device, or older than what has run.
        """
        manifest = package.manifest
        if manifest.product != self._product:
            raise PackageError(f"made for {manifest.product}", damaged=False)
        newest = self.record.confirmed
        if newest and version_key(manifest.version) < version_key(newest):
            reason = f"{manifest.version} is older than {newest}"
            raise PackageError(reason, damaged=False)
        least, active = manifest.min_version, self.record.expected
        if least and version_key(active) < version_key(least):
            raise PackageError(f"it follows {least} at least, {active} is active", damaged=False)

    def _refuse(self, name: str, reason: str, now: DeviceTime) -> None:
        if (self.state, Input.REFUSED) in TABLE:
            self._save(Input.REFUSED)
        self._log("firmware-refused", now, "F", image=name, reason=reason)

    def _written_fault(self, announced: bytes) -> str:
        """Return what is wrong with what now lies in the inactive partition."""
        slot = self.record.inactive
        fault = self._flash.fault(slot)
        if fault:
            return fault
        with self._flash.path(slot).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
        return "" if found == announced else "SHA-256 is not the announced one"

    def _damaged(self, fault: str, now: DeviceTime) -> None:
        """The inactive partition is faulty; its age counts from the first time that was seen."""
        event = Input.DAMAGED if (self.state, Input.DAMAGED) in TABLE else None
        since = self.record.faulty_since
        first = since is None
        self._save(event, faulty_since=now.ns if first else since, faulty=fault, due=None,
                   warned=0 if first else self.record.warned)  # fmt: skip
        self._log("firmware-faulty", now, "F", partition=self.record.inactive.upper(),
                  reason=fault, days=self._settings.stale_days)  # fmt: skip

    # -- activate ----------------------------------------------------------------------------

    def activate(self, name: str, moment: DeviceTime | None, now: DeviceTime) -> str:
        """Order the activation; returns why not, "" if ordered."""
        if self.state is not State.STAGED or self.record.image != name:
            return "image_verify comes first"
        due = now if moment is None else max(now, moment)
        self._save(Input.ORDERED, due=due.ns)
        self._log("firmware-activation", now, image=name, moment=due.iso())
        return ""

    def _switch(self, now: DeviceTime) -> Due:
        """Make the other partition the active one, in one step of the boot record."""
        fault = self._flash.fault(self.record.inactive)
        if fault:
            self._damaged(fault, now)
            return Due.NOTHING
        self._save(
            Input.DUE,
            active=self.record.inactive,
            expected=self._flash.version(self.record.inactive),
            previous=self.record.expected,
            fallback=self._settings.auto_fallback,
            due=None,
        )
        return Due.RESTART

    # -- time --------------------------------------------------------------------------------

    def next_deadline(self) -> DeviceTime | None:
        """Return when :meth:`on_deadline` must be called."""
        moments = []
        if self.state is State.SCHEDULED and self.record.due is not None:
            moments.append(DeviceTime(self.record.due))
        if self.record.faulty_since is not None:
            days = [day for day in self._settings.warn_days if day > self.record.warned]
            since = DeviceTime(self.record.faulty_since)
            moments += [since + day * DAY for day in (*days, self._settings.stale_days)]
        return min(moments, default=None)

    def on_deadline(self, now: DeviceTime) -> Due:
        """Do what is due."""
        since = self.record.faulty_since
        if since is not None:
            age = now - DeviceTime(since)
            if age >= self._settings.stale_days * DAY:
                return Due.STALE
            self._warn(age // DAY, now)
        due = self.record.due
        if self.state is State.SCHEDULED and due is not None and now >= DeviceTime(due):
            return self._switch(now)
        return Due.NOTHING

    def _warn(self, days: int, now: DeviceTime) -> None:
        due = [day for day in self._settings.warn_days if self.record.warned < day <= days]
        if due:
            self._save(warned=max(due))
            self._log("firmware-stale", now, "F", partition=self.record.inactive.upper(),
                      days=days, limit=self._settings.stale_days)  # fmt: skip

    # -- start -------------------------------------------------------------------------------

    def look(self, now: DeviceTime) -> None:
        """Look at the inactive partition: at the start and in every self-test."""
        slot = self.record.inactive
        if self._flash.is_empty(slot):
            return
        fault = self._flash.fault(slot)
        if fault and (self.record.faulty_since is None or self.state is State.VERIFIED):
            self._damaged(fault, now)
        elif not fault:
            was = self.record.faulty_since
            if self.state is State.VERIFIED:  # the power went after the last octet was written
                self._save(Input.WRITTEN)
            if was is not None:
                self._save(faulty_since=None, faulty="", warned=0)
                self._log("firmware-repaired", now, partition=slot.upper())

    def confirm(self, now: DeviceTime) -> None:
        """The self-test of the start has passed: a new version stays."""
        if self.state is State.BOOTING:
            self._save(Input.RUNNING, confirmed=self.record.expected, previous="")
            self._log("firmware-confirmed", now, version=self.record.expected)


def fall_back(flash: Flash, reason: str, now: DeviceTime) -> bool:
    """Go back to the partition before a switch that does not start, where that is allowed.

    Returns:
        Whether the other partition is active now.
    """
    try:
        record = flash.record()
    except FlashError:
        return False
    if not record.fallback or record.update is not State.BOOTING or not record.previous:
        return False
    flash.change(
        active=record.inactive,
        expected=record.previous,
        previous="",
        update=TABLE[State.BOOTING, Input.FELL_BACK],
        faulty_since=now.ns,
        faulty=reason,
        warned=0,
    )
    return True
