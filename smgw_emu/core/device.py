"""The gateway's core: identity, clock, logbooks, metering and contracts behind one object.

The shape is that of every machine here (architecture, section 5): inputs come with the world time
at which they happened, :meth:`Device.next_deadline` says when to call again. Durable effects are
transactions of the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from smgw_emu.core.administration import Administration
from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.device_clock import DeviceClock
from smgw_emu.core.events import Event
from smgw_emu.core.history import History
from smgw_emu.core.instants import DAY, SECOND, DeviceTime, WorldTime
from smgw_emu.core.life import LifeCycle, LifeInput
from smgw_emu.core.logbook import Logbooks
from smgw_emu.core.metering import Metering
from smgw_emu.core.retention import Retention
from smgw_emu.core.series import terms_by_name
from smgw_emu.core.signature import ReadingSigner
from smgw_emu.core.status import Condition
from smgw_emu.core.storage_watch import Level, StorageWatch
from smgw_emu.core.store import Store
from smgw_emu.core.values import MeterReport
from smgw_emu.core.wan_profiles import HanProfile, WanProfile
from smgw_emu.profiles import Profile

COMMUNICATION = ("wan", "han", "lmn", "cls", "proxy")


class Device:
    """The emulated gateway without its interfaces.

    Args:
        config: what administrator and factory have put into it.
        profile: behaviour of its firmware line.
        store: its flash.
        signer: signature key in the security module.
        clock: the device clock.
        firmware_hash: SHA-256 over the software, 64 hex digits.
        catalogue: events by name; default: the built-in catalogue.
        administration: profiles the administrator has put in; default: those in the store.

    Attributes:
        metering_on: values are taken and registered; a secure state may forbid it.
        distrusted: values are marked though the clock runs (SEC-11).
        synchronised: device time of the last synchronisation, None before the first.
    """

    def __init__(
        self,
        config: GatewayConfig,
        profile: Profile,
        store: Store,
        signer: ReadingSigner,
        clock: DeviceClock,
        firmware_hash: str,
        catalogue: Mapping[str, Event] | None = None,
        administration: Administration | None = None,
    ) -> None:
        self.config = config
        self.profile = profile
        self.store = store
        self.administration = administration or Administration(config, store)
        self.clock = clock
        self.firmware_hash = firmware_hash
        self.id = config.device_id
        users = {consumer.login: consumer.logical_name for consumer in config.consumer}
        self.logbooks = Logbooks(store, users, catalogue)
        self.history = History(store)
        self.retention = Retention(store, self.logbooks, profile.retention)
        self.storage = StorageWatch(store, self.logbooks, profile.retention)
        self.metering = Metering(config, profile, store, self.logbooks, signer)
        self.life = LifeCycle(store, self.logbooks)
        self.metering_on = True
        self.distrusted = False
        self.synchronised: DeviceTime | None = None
        self._prune_at = DeviceTime(0)
        self._paired: set[str] = set()
        self._was_valid = True

    def now(self, world: WorldTime) -> DeviceTime:
        """Return the device's time."""
        return self.clock.read(world)

    # -- life ------------------------------------------------------------------------------

    def power_on(self, world: WorldTime) -> None:
        """Start logging and metering; logs what changed since the last run."""
        now = self.now(world)
        with self.store.transaction():
            self._log_start(now)
            self._apply_profiles(now)
            if self.config.usage_point:
                self.life.apply(LifeInput.CONTRACT, now)
            self._note_time_validity(now, first=True)
            self._prune(now)
        self.metering.start(now)

    def power_off(self, world: WorldTime) -> None:
        """Note an orderly stop (a power cut has none)."""
        self.logbooks.write("stop", self.now(world))

    def next_deadline(self) -> WorldTime:
        """Return the world time of the next thing to do."""
        window = self.metering.next_deadline() if self.metering_on else None
        # a window is over one step after its end: the end itself still belongs to it
        due = self._prune_at if window is None else min(window + 1, self._prune_at)
        return self.clock.world_at(due)

    def on_deadline(self, world: WorldTime) -> None:
        """Do what is due."""
        now = self.now(world)
        if self.metering_on:
            self.metering.on_deadline(now)
        if now >= self._prune_at:
            self._prune(now)

    def check_storage(self, now: DeviceTime) -> Level:
        """Make room if the store is full; tell once when it reaches its limit, and once after.

        The administrator sets the limit (WAN-25); at it values have no room any more (SEC-10).
        """
        self._make_room(now)
        level = self.storage.values(now, self.administration.settings.value_limit_kib)
        if level.critical == (self.store.get_meta("storage-limit") == "above"):
            return level
        with self.store.transaction():
            self.store.set_meta("storage-limit", "above" if level.critical else "")
            self.logbooks.write(
                "storage-limit" if level.critical else "storage-normal",
                now,
                outcome="F" if level.critical else "S",
                used=level.used_kib,
                limit=level.limit_kib,
            )
        return level

    def switch_metering(self, now: DeviceTime, *, on: bool) -> None:
        """Stop taking values, or take them again, as after a time without power."""
        if on and not self.metering_on:
            self.metering.restart(now)
        self.metering_on = on

    def distrust(self, *, on: bool) -> None:
        """Mark values though the clock runs, or no longer (SEC-11)."""
        self.distrusted = on
        self._mark()

    def _make_room(self, now: DeviceTime) -> None:
        self.retention.make_room(now, terms_by_name(self.config).values())

    def on_report(self, world: WorldTime, report: MeterReport) -> None:
        """Take a meter's report that arrived at ``world``."""
        now = self.now(world)
        if report.meter not in self._paired:
            self._note_pairing(report.meter, now)
        if not self.metering_on:
            return
        self.metering.on_report(report, now)

    def _note_pairing(self, meter: str, now: DeviceTime) -> None:
        """Log once that a configured meter was connected and registered (T43)."""
        if all(meter != known.key for known in self.config.meter):
            return
        self._paired.add(meter)
        if self.store.get_meta(f"paired {meter}") is None:
            with self.store.transaction():
                self.store.set_meta(f"paired {meter}", now.iso())
                self.logbooks.write("meter-paired", now, subject=f"{meter}.sm", meter=meter)

    def reconfigure(self, config: GatewayConfig, now: DeviceTime) -> None:
        """Put a checked configuration in force and log what changed (T43, T44).

        The caller holds the transaction, stores what the change came from in it, and calls
        :meth:`restore` if the transaction fails.
        """
        self.logbooks.set_users(
            {c.login: c.logical_name for c in (*self.config.consumer, *config.consumer)}
        )
        self.config = config
        self._paired &= {meter.key for meter in config.meter}
        self._apply_profiles(now)
        if config.usage_point:
            self.life.apply(LifeInput.CONTRACT, now)
        self.logbooks.set_users({c.login: c.logical_name for c in config.consumer})
        self.metering.reconfigure(config, now)

    def restore(self, config: GatewayConfig, now: DeviceTime) -> None:
        """Go back to a configuration after a change that the store has rolled back."""
        self.config = config
        self.logbooks.set_users({c.login: c.logical_name for c in config.consumer})
        self.metering.reconfigure(config, now)

    def synchronise(self, world: WorldTime, time: DeviceTime) -> None:
        """Take the time of the administrator's service; small corrections are not logged each."""
        step = self.clock.set(world, time, valid=True)
        self.synchronised = time
        self._note_time_validity(time)
        if abs(step) >= SECOND:
            self._log_step(time, step)
        if step <= -SECOND:  # less moves no target, and samples near one must not be lost
            self.metering.clock_set_back(time)

    def lose_time(self, world: WorldTime) -> None:
        """Time can no longer be trusted."""
        now = self.now(world)
        self.clock.set(world, now, valid=False)
        with self.store.transaction():
            self._note_time_validity(now)

    def set_clock(self, world: WorldTime, time: DeviceTime, *, valid: bool) -> None:
        """Set the device clock, as a time synchronisation or the lab does."""
        step = self.clock.set(world, time, valid=valid)
        with self.store.transaction():
            self._log_step(time, step)
            self._note_time_validity(time)
        if step < 0:
            self.metering.clock_set_back(time)

    def _log_step(self, time: DeviceTime, step: int) -> None:
        sign, seconds = "-" if step < 0 else "+", abs(step)
        text = f"{sign}{seconds // SECOND}.{seconds % SECOND // 1_000_000:03d}"
        self.logbooks.write("clock-set", time, step=text)

    # -- start-up entries ------------------------------------------------------------------

    def _log_start(self, now: DeviceTime) -> None:
        device = self.profile.device
        self.logbooks.write(
            "start",
            now,
            gateway=self.id,
            firmware=device.firmware_version,
            hash=self.firmware_hash,
        )
        # exactly one per start, GW-62; this device has no special function
        self.logbooks.write("special-functions", now, functions="keine")
        if self.store.get_meta("commissioned") is None:
            self.store.set_meta("commissioned", now.iso())
            self.logbooks.write(
                "commissioning",
                now,
                gateway=self.id,
                model=device.model,
                authority=self.config.gateway.authority,
            )
        version = self.store.get_meta("firmware")
        if version != device.firmware_version:
            self.store.set_meta("firmware", device.firmware_version)
            if version is not None:
                self.logbooks.write(
                    "firmware-changed", now, old=version, new=device.firmware_version
                )

    def _apply_profiles(self, now: DeviceTime) -> None:
        """Log every profile that was inserted, changed or removed since the last start (T43)."""
        config = self.config
        wanted: dict[tuple[str, str], str] = {}
        for consumer in config.consumer:
            # credentials enter only as a digest: secrets stay out of the store
            body = {"user_id": consumer.user_id, "access": _fingerprint(consumer)}
            wanted["consumer", consumer.login] = json.dumps(body)
        for meter in config.meter:
            body_bytes = msgspec.json.encode(msgspec.structs.replace(meter, source=""))
            wanted["meter", meter.key] = body_bytes.decode()
        for point in config.usage_point:
            wanted["usage-point", point.name] = msgspec.json.encode(point).decode()
        for kind, items in _communication(config).items():
            wanted.update({(kind, name): body for name, body in items.items()})
        rows = self.store.execute("SELECT kind, id, body FROM applied_profile")
        known = {(kind, name): body for kind, name, body in rows}
        # who had or has a meter is told of its change: both contracts, old and new, count
        points = [
            json.loads(body)
            for table in (known, wanted)
            for (kind, _), body in table.items()
            if kind == "usage-point"
        ]
        for key in sorted(known.keys() - wanted.keys()):
            self._log_profile(key, known[key], points, now, "removed")
            self.store.execute("DELETE FROM applied_profile WHERE kind = ? AND id = ?", key)
            self.history.end(*key, now)
        for key, body_text in wanted.items():
            old = known.get(key)
            if old == body_text:
                continue
            if old is not None and _changes_hands(key, old, body_text):
                # neither consumer may see the other's contract (GW-11)
                self._log_profile(key, old, points, now, "removed")
                old = None
            self._log_profile(key, body_text, points, now, "changed" if old else "added")
            self.store.execute(
                "INSERT OR REPLACE INTO applied_profile VALUES (?, ?, ?)", (*key, body_text)
            )
            self.history.begin(*key, body_text, now)

    def _log_profile(
        self,
        key: tuple[str, str],
        body: str,
        points: list[dict[str, Any]],
        now: DeviceTime,
        change: str,
    ) -> None:
        kind, name = key
        write = self.logbooks.write
        if kind == "consumer":
            event = {"added": "consumer-added", "changed": "access-changed"}
            write(event.get(change, "consumer-removed"), now, consumers=[name], consumer=name)
        elif kind == "technician":
            write(f"technician-{change}", now, profile=name)
        elif kind in COMMUNICATION:
            write(f"communication-{change}", now, kind=kind, profile=name, parameters=body)
        elif kind == "meter":
            consumers = [
                point["consumer"]
                for point in points
                if name in {meter.lower() for meter in point["meters"]}
            ]
            write(f"meter-{change}", now, consumers=consumers, subject=f"{name}.sm", meter=name)
        else:
            point = json.loads(body)
            write(
                f"profile-{change}",
                now,
                consumers=[point["consumer"]],
                subject=f"{name}.sm",
                usage_point=name,
                taf=point["taf"],
                parameters=body,
            )

    def _note_time_validity(self, now: DeviceTime, *, first: bool = False) -> None:
        was, self._was_valid = self._was_valid, self.clock.valid
        self._mark()
        if self.clock.valid and not was:
            self.logbooks.write("time-valid", now)
        elif not self.clock.valid and (first or was):
            self.logbooks.write("time-invalid", now, outcome="F")

    def _mark(self) -> None:
        if self.clock.valid and not self.distrusted:
            self.metering.conditions.discard(Condition.TIME_INVALID)
        else:
            self.metering.conditions.add(Condition.TIME_INVALID)

    def _prune(self, now: DeviceTime) -> None:
        """Drop once a day what its retention no longer covers."""
        self._prune_at = now + DAY
        with self.store.transaction():
            self.retention.prune(now)
            self.history.prune(now + -self.profile.retention.values_months * 31 * DAY)
            self._make_room(now)


def _communication(config: GatewayConfig) -> dict[str, dict[str, str]]:
    """Return the communication profiles and accesses by kind and name, without certificates."""

    def text(record: msgspec.Struct, **shown: object) -> str:
        return json.dumps(msgspec.to_builtins(record) | shown)

    han = {"han": text(config.han_profile)} if config.han_profile != HanProfile() else {}
    return {
        "wan": {p.name: text(p, **_fingerprints(p)) for p in config.wan},
        "han": han,
        "lmn": {p.meter.lower(): text(p) for p in config.lmn},
        "cls": {p.name: text(p) for p in config.cls},
        "proxy": {p.name: text(p) for p in config.proxy},
        "technician": {p.name: text(p) for p in config.technician},
    }


def _fingerprints(profile: WanProfile) -> dict[str, str]:
    return {
        name: hashlib.sha256(getattr(profile, name)).hexdigest()[:16]
        for name in ("tls", "sig", "enc")
    }


def _changes_hands(key: tuple[str, str], old: str, new: str) -> bool:
    """Whether a contract goes from one consumer to another."""
    same = key[0] != "usage-point" or json.loads(old)["consumer"] == json.loads(new)["consumer"]
    return not same


def _fingerprint(consumer: object) -> str:
    """Return a one-way mark of a consumer's credentials that changes when they change."""
    return hashlib.sha256(msgspec.json.encode(consumer)).hexdigest()[:16]
