"""Profiles of the transparent channel between a CLS in the HAN and an EMT in the WAN.

The proxy communication profile is T18 of TR-03109-1 v1.0; what that table lacks though it is needed
(address of the CLS, name a CLS uses for the EMT) comes from Detailspezifikation v2.0 11.3, 13.3
(``wan.md`` 2.4, 2.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import combinations
from typing import Literal

import msgspec

from smgw_emu.core.errors import ConfigError, RemoteProtocolError
from smgw_emu.core.instants import LATEST, DeviceTime, parse_device_time
from smgw_emu.core.wan_profiles import (
    MAX_SESSION_S,
    NAME,
    WanProfile,
    check_limits,
    need,
    parse_address,
)

Scenario = Literal["HKS3", "HKS4", "HKS5"]
HOST_NAME = re.compile(r"[a-z0-9.-]{1,63}", re.ASCII)  # REQ.TA.SOCKSTLS.Connect.35
_FINGERPRINT = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PLACE = re.compile(r"(?:\[([0-9a-fA-F:]{2,45})\]|([A-Za-z0-9.-]{1,253})):([0-9]{1,5})", re.ASCII)
_START = re.compile(
    r"every:([1-9][0-9]{0,6})|daily:([01][0-9]|2[0-3]):([0-5][0-9])|event:([a-z-]{1,40})", re.ASCII
)


class ClsProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A CLS communication profile: a device in the HAN and how it is reached (wan.md 2.5).

    Attributes:
        name: CLS-ID.
        certificates: SHA-256 of its HAN certificates, hex; granted and revoked with this list.
        addresses: ``host:port`` where it is a TLS server (HKS4, HKS5), in order of preference.
        keepalive: idleness does not end its channels (T17).
        idle_s: teardown when idle, 0: off.
        max_session_s: at most 48 h.
        consumer: login of the consumer it belongs to; his log tells of every channel (T44).
    """

    name: str
    certificates: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    keepalive: bool = False
    idle_s: int = 0
    max_session_s: int = MAX_SESSION_S
    consumer: str = ""


class ProxyProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A proxy communication profile: one CLS, one EMT (T18).

    Attributes:
        name: Bezeichner.
        cls, emt: CLS profile and WAN profile (role EMT) it joins.
        initiator: Kommunikationsszenario.
        server_name: what a CLS calls the EMT (``localServerName``); sent to the CLS in HKS4, HKS5.
        addresses: ``host:port`` of the EMT; empty: those of its WAN profile.
        valid_from, valid_until: UTC, "" for no limit (GültigVon, GültigBis).
        priority: CLS-Proxy Priorität, the higher wins where there is room for one only.
        start: Proxy-Start-Ereignis of HKS5: ``every:900`` (seconds), ``daily:17:30`` (UTC) or
            ``event:NAME`` of the event catalogue.
        sni: server name towards the EMT (``wanTlsSni``), "": that of the WAN profile.
        attempts, wait_s: repetitions of a failed set-up, pause between them.
        keepalive, idle_s, max_session_s: as for a CLS; the stricter of both holds.
    """

    name: str
    cls: str
    emt: str
    initiator: Scenario = "HKS3"
    server_name: str = ""
    addresses: tuple[str, ...] = ()
    valid_from: str = ""
    valid_until: str = ""
    priority: int = 0
    start: str = ""
    sni: str = ""
    attempts: int = 0
    wait_s: int = 10
    keepalive: bool = False
    idle_s: int = 0
    max_session_s: int = MAX_SESSION_S

    @property
    def window(self) -> tuple[DeviceTime, DeviceTime]:
        """Begin (included) and end (excluded) of its validity."""
        begin = parse_device_time(self.valid_from) if self.valid_from else DeviceTime(0)
        end = parse_device_time(self.valid_until) if self.valid_until else DeviceTime(LATEST)
        return begin, end

    def active(self, now: DeviceTime) -> bool:
        """Tell whether it is valid at ``now``."""
        begin, end = self.window
        return begin <= now < end


class Start(msgspec.Struct, frozen=True):
    """A start event, taken apart: one of period in seconds, second of the day, event name."""

    every_s: int = 0
    daily_s: int = -1
    event: str = ""


def parse_start(text: str) -> Start:
    """Read a start event.

    Raises:
        ConfigError: another form.
    """
    found = _START.fullmatch(text)
    need(found, f"start: {text[:60]!r} is not every:SECONDS, daily:HH:MM or event:NAME")
    assert found is not None
    every, hour, minute, event = found.groups()
    if every:
        return Start(every_s=int(every))
    return Start(event=event) if event else Start(daily_s=int(hour) * 3600 + int(minute) * 60)


def parse_place(text: str) -> tuple[str, int]:
    """Read ``host:port`` or ``[IPv6]:port``.

    Raises:
        ConfigError: another form, or no TCP port.
    """
    found = _PLACE.fullmatch(text)
    need(found, f"address {text[:80]!r} is not host:port")
    assert found is not None
    host, port = found[1] or found[2], int(found[3])
    need(0 < port < 65536, f"address {text[:80]!r}: {port} is not a TCP port")
    return host, port


def emt_places(proxy: ProxyProfile, emt: WanProfile) -> list[tuple[str, int]]:
    """Return where the EMT of a proxy profile is reached, in order of preference."""
    if proxy.addresses:
        return [parse_place(text) for text in proxy.addresses]
    return [(address.host, address.port) for address in map(parse_address, emt.addresses)]


def check_cls(profile: ClsProfile, consumers: set[str]) -> None:
    """Check a CLS profile.

    Raises:
        ConfigError: with the parameter and the reason.
    """
    where = f"cls profile {profile.name!r}"
    need(NAME.fullmatch(profile.name), f"{where}: name must match {NAME.pattern}")
    for value in profile.certificates:
        need(_FINGERPRINT.fullmatch(value), f"{where}: certificates: SHA-256 in hex")
    _check_places(where, profile.addresses)
    known = not profile.consumer or profile.consumer in consumers
    need(known, f"{where}: consumer: {profile.consumer!r} is not configured")
    check_limits(where, profile)


def check_proxies(
    proxies: Iterable[ProxyProfile], devices: dict[str, ClsProfile], emts: set[str]
) -> None:
    """Check proxy profiles against what they refer to and against each other.

    Raises:
        ConfigError: with the profile, the parameter and the reason.
    """
    proxies = tuple(proxies)
    for profile in proxies:
        _check_proxy(profile, devices, emts)
    for one, other in combinations(proxies, 2):
        if one.cls != other.cls or not _overlap(one, other):
            continue
        where = f"proxy profile {other.name!r}"
        # T18: not several of the same pair at a time
        need(one.emt != other.emt, f"{where}: {one.name!r} joins the same two at the same time")
        same = one.server_name and one.server_name == other.server_name
        need(not same, f"{where}: server_name: {one.name!r} has the same at the same time")


def _check_proxy(profile: ProxyProfile, devices: dict[str, ClsProfile], emts: set[str]) -> None:
    where = f"proxy profile {profile.name!r}"
    need(NAME.fullmatch(profile.name), f"{where}: name must match {NAME.pattern}")
    need(profile.cls in devices, f"{where}: cls: {profile.cls!r} is not configured")
    need(profile.emt in emts, f"{where}: emt: {profile.emt!r} is not configured")
    for field in ("server_name", "sni"):
        value = getattr(profile, field)
        good = not value or HOST_NAME.fullmatch(value)
        need(good, f"{where}: {field}: 1 to 63 of a-z 0-9 . - (DS2 11.3)")
    _check_places(where, profile.addresses)
    try:
        begin, end = profile.window
    except RemoteProtocolError as error:
        raise ConfigError(f"{where}: validity: {error}") from error
    need(begin < end, f"{where}: valid_until is not after valid_from")
    if profile.initiator != "HKS3":
        there = devices[profile.cls].addresses
        need(there, f"{where}: cls: {profile.cls!r} has no address, {profile.initiator} needs one")
    timed = profile.initiator == "HKS5"
    need(timed == bool(profile.start), f"{where}: start: for HKS5, and only for it")
    if profile.start:
        parse_start(profile.start)
    check_limits(where, profile)
    for field in ("attempts", "wait_s"):
        need(0 <= getattr(profile, field) <= MAX_SESSION_S, f"{where}: {field} is out of range")
    need(0 <= profile.priority < 1 << 31, f"{where}: priority is out of range")


def _check_places(where: str, places: tuple[str, ...]) -> None:
    for text in places:
        try:
            parse_place(text)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error


def _overlap(one: ProxyProfile, other: ProxyProfile) -> bool:
    (begin, end), (from_, until) = one.window, other.window
    return begin < until and from_ < end
