"""From a complete telegram to the core: lamp, list of senders, acceptance, values, log.

Several receivers may hear the same meter; there is one reception per gateway, so a telegram counts
once. The message counter is stored in the transaction of the values it came with (TR-03116-3 7.3
no. 5 asks for an age of twelve hours at most).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hardware.radio import Heard
from hsm_sim.interface import KeyModule
from hsm_sim.slots import lmn_master_key
from lmn.mbus.obis import load_obis_map, status_word
from lmn.wmbus.heard import HeardList
from lmn.wmbus.inbox import NEVER, Inbox, Meter, Result, Verdict
from lmn.wmbus.link import MEDIA, OTHER_MEDIUM, TYPES, Address, Control, decode_air, strip_checksums
from lmn.wmbus.measured import measured
from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.device import Device
from smgw_emu.core.errors import ConfigError, RemoteProtocolError
from smgw_emu.core.ids import DeviceId
from smgw_emu.core.instants import WorldTime
from smgw_emu.core.meter_counter import keep_counter, last_counter
from smgw_emu.core.sparing import Sparing
from smgw_emu.core.values import MeterReport
from smgw_emu.core.wan_profiles import LmnProfile
from smgw_emu.profiles import Profile

Outcome = Literal["telegram", "damaged", "not listened to"]
# verdicts on telegrams of configured meters that are told in the system log
_TOLD = frozenset(
    {
        Verdict.FUNCTION, Verdict.UNREADABLE, Verdict.NO_KEY, Verdict.UNAUTHENTICATED,
        Verdict.TLS, Verdict.SECURITY, Verdict.MAC, Verdict.REPLAY, Verdict.DAMAGED,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReceptionHooks:
    """Whom the reception tells.

    Attributes:
        guard: runs a step of the core.
        telegram: a complete telegram was heard (LMN-05).
        changed: deadlines may have moved.
    """

    guard: Callable[[Callable[[], None]], None]
    telegram: Callable[[WorldTime], None]
    changed: Callable[[], None]


class Reception:
    """What the gateway hears.

    Args:
        device: the core.
        module: holds the master keys.
        profile: behaviour.
        folder: of the gateway, for an OBIS map of one's own.
        hooks: whom to tell.

    Raises:
        ConfigError: the OBIS map cannot be used.
    """

    def __init__(
        self,
        device: Device,
        module: KeyModule,
        profile: Profile,
        folder: Path,
        hooks: ReceptionHooks,
    ) -> None:
        self._device = device
        self._module = module
        self.rules = profile.lmn_wireless
        self._hooks = hooks
        self._codes = load_obis_map(_map_text(device.config, folder))
        self._sparing = Sparing()
        self._untold: dict[tuple[str, Verdict], int] = {}
        self.inbox = Inbox(self.rules)
        self.heard = HeardList(self.rules.heard)

    def reconfigured(self) -> None:
        """Profiles or keys have changed."""
        old = {meter.name: meter for meter in self.inbox.meters.values()}
        self.inbox.meters = {}
        files = set(self._module.files())
        profiles = {profile.meter.lower(): profile for profile in self._device.config.lmn}
        for meter in self._device.config.meter:
            lmn = profiles.get(meter.key)
            if lmn is not None and (lmn.scenario == "LKS1" or lmn.protection == "TLS"):
                continue
            key = self._key(meter.key, files)
            before = old.get(meter.key)
            known = Meter(meter.key, key, self._counter(meter.key))
            if before is not None and before.key == key and before.counter == known.counter:
                known = before
            for address in addresses(meter.key, lmn):
                self.inbox.meters[address.octets] = known
        self.heard.configured({octets: m.name for octets, m in self.inbox.meters.items()})

    def _key(self, meter: str, files: set[str]) -> bytes | None:
        name = lmn_master_key(meter)
        if name not in files:
            return None
        key = self._module.read_file(name)
        return key if len(key) == 16 else None

    def _counter(self, meter: str) -> int:
        last = last_counter(self._device.store, meter)
        return NEVER if last is None else last

    # -- telegrams -------------------------------------------------------------------------

    def take(self, heard: Heard, port: str) -> Outcome:
        """Take what a receiver heard; tells whether it was a telegram."""
        if heard.mode and heard.mode not in self.rules.modes:
            return "not listened to"
        try:
            bare, form = bare_frame(heard)
        except RemoteProtocolError:
            return "damaged"
        if form and form not in self.rules.formats:
            return "not listened to"
        result = self.inbox.take(bare, heard.at)
        if result.verdict is Verdict.BROKEN:
            return "damaged"
        self._hooks.telegram(heard.at)
        self._note(result, heard, port)
        if result.verdict in {Verdict.ACCEPTED, Verdict.LAB}:
            self._hooks.guard(lambda: self._accept(result, heard.at))
        elif result.counter != NEVER:
            self._hooks.guard(lambda: self._keep(result))
        self._hooks.changed()
        return "telegram"

    def _note(self, result: Result, heard: Heard, port: str) -> None:
        """Enter the sender into the list, and what is remarkable into the log."""
        assert result.address is not None
        station = self.heard.note(result.address, result.meter, heard.at)
        station.mode, station.rssi, station.security = heard.mode, heard.rssi, result.security
        name = result.verdict.value
        station.verdicts[name] = station.verdicts.get(name, 0) + 1
        sender = result.meter or str(result.address)
        # strangers share one allowance: who invents addresses must not fill the log
        installing = result.control == Control.SND_IR
        if installing and self._allow("installation", result.meter, heard.at):
            self._log("radio-installation", heard.at, sender=sender, kind=result.address.type_name)
        if result.meter and result.verdict in _TOLD:
            self._refused(result, sender, heard.at)
        elif not result.meter and station.telegrams == 1 and self._allow("unknown", "", heard.at):
            self._log(
                "radio-unknown", heard.at, sender=sender, kind=result.address.type_name, port=port
            )

    def _refused(self, result: Result, sender: str, at: WorldTime) -> None:
        key = sender, result.verdict
        count = self._untold.get(key, 0) + 1
        if self._allow(result.verdict.value, sender, at):
            self._untold.pop(key, None)
            self._log(
                "radio-refused", at, outcome="F", sender=sender, reason=result.reason, count=count
            )
        else:
            self._untold[key] = count

    def _allow(self, what: str, sender: str, at: WorldTime) -> bool:
        return self._sparing.allow((what, sender), self._device.now(at))

    def _log(self, event: str, at: WorldTime, **parameters: object) -> None:
        now = self._device.now(at)
        self._hooks.guard(
            lambda: self._device.logbooks.write(event, now, **parameters)  # type: ignore[arg-type]
        )

    def _keep(self, result: Result) -> None:
        keep_counter(self._device.store, result.meter, result.counter)

    def _accept(self, result: Result, at: WorldTime) -> None:
        """Hand values to the core, with the counter, in one transaction."""
        assert result.telegram is not None
        assert result.application is not None
        assert result.address is not None
        kind = result.address.device_type
        actual = self.rules.measuring_time == "actuality"
        moments = measured(result.application, kind, self._codes, at, actual=actual)
        tpl = result.telegram.tpl
        status = 0 if tpl is None else tpl.status
        word = (
            status_word(result.application, status, kind)
            if self._is_wireless(result.meter)
            else None
        )
        with self._device.store.transaction():
            if result.counter != NEVER:
                self._keep(result)
            for moment in moments:
                report = MeterReport(
                    result.meter,
                    moment.values,
                    word,
                    moment.use,
                    unverified=result.verdict is Verdict.LAB,
                )
                self._device.on_report(at + -moment.age_ns, report)

    def _is_wireless(self, name: str) -> bool:
        return any(m.key == name and m.word == "wireless" for m in self._device.config.meter)


def bare_frame(heard: Heard) -> tuple[bytes, str]:
    """Return a telegram without checksums, and its frame format, "" if nobody can tell.

    Raises:
        RemoteProtocolError: it is damaged.
    """
    data = heard.data
    if heard.form == "bare":
        return data, ""
    if heard.form == "A":
        return decode_air(data, "A"), "A"
    if heard.form == "B":
        return decode_air(data, "B"), "B"
    return strip_checksums(data)


def addresses(meter: str, lmn: LmnProfile | None) -> list[Address]:
    """Return the addresses under which a meter may be heard.

    The LMN profile's ``server_id`` of eight octets (``M ID VER TYP`` as on air) if there is one;
    else what its DIN 43863-5 id says: manufacturer, block as version, number, each device type of
    the medium [I].
    """
    if lmn is not None and len(lmn.server_id) == 16:
        return [Address(bytes.fromhex(lmn.server_id))]
    try:
        device = DeviceId.parse(meter)
    except RemoteProtocolError:
        return []
    kinds = [kind for kind in TYPES if MEDIA.get(kind, OTHER_MEDIUM) == device.medium]
    number = f"{device.number:08d}"
    return [Address.of(device.manufacturer, number, device.block, kind) for kind in kinds]


def _map_text(config: GatewayConfig, folder: Path) -> str | None:
    name = config.gateway.obis_map
    if not name:
        return None
    try:
        return (folder / name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the OBIS map {name}: {error}") from error
