"""What the administrator configures beside meters, consumers and contracts.

Parameters and ranges are those of TR-03109-1 v1.0: T40 (WAN), T17 (HAN), T38 (LMN side of
the meter profile); ``wan.md`` 2.5 for names the newer edition adds. T18 is ``cls_profiles``.
"""

from __future__ import annotations

import re
from typing import Literal, Protocol
from urllib.parse import urlsplit

import msgspec

from smgw_emu.core.errors import ConfigError, RemoteProtocolError
from smgw_emu.core.instants import DeviceTime, parse_device_time

MAX_SESSION_S = 172_800  # T40, T17, T18: more than 48 h must not be accepted
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}", re.ASCII)
_SERVER_ID = re.compile(r"(?:[0-9a-f]{2}){6,14}", re.ASCII)

Scenario = Literal["MANAGEMENT", "ADMIN-SERVICE", "INFO-REPORT", "NTP-TLS", "PROXY"]
Role = Literal["GWA", "EMT"]
GWA_SCENARIOS = ("MANAGEMENT", "ADMIN-SERVICE", "NTP-TLS")  # NTP-TLS: tr-03109-1.md 10.4 [I]
EMT_SCENARIOS = ("INFO-REPORT", "PROXY")  # PROXY: an EMT reached by transparent channels only [I]
BARE = ("NTP-TLS", "PROXY")  # TLS without content protection


def need(condition: object, message: str) -> None:
    """Refuse a configuration unless a condition holds.

    Raises:
        ConfigError: with the message.
    """
    if not condition:
        raise ConfigError(message)


class Address(msgspec.Struct, frozen=True):
    """Where TLS has to be opened: host, port, and the point of contact (path prefix)."""

    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}{self.path}"


def parse_address(text: str) -> Address:
    """Read an ``https://host:port/poc`` address.

    Raises:
        ConfigError: another form.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"address {text[:80]!r}: {error}") from error
    good = parts.scheme == "https" and host and not (parts.query or parts.fragment or "@" in text)
    need(
        good and text.isascii() and text.isprintable(),
        f"address {text[:80]!r} is not https://host:port/poc",
    )
    assert host is not None
    return Address(host, 443 if port is None else port, parts.path.rstrip("/"))


class WanProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A WAN communication profile (T40).

    Attributes:
        name: Bezeichner.
        scenario: which service runs on it.
        role: of the partner.
        addresses: URIs in order of preference.
        tls, sig, enc: certificates of the partner, DER (base64 in config.toml).
        description: Name.
        keepalive: the channel stays until the maximum session length.
        attempts: repetitions after a failed attempt.
        wait_s: pause between attempts.
        idle_s: teardown when idle, 0: off.
        max_session_s: at most 48 h.
        schedule_s: opened every so many seconds, 0: not by schedule (wan.md 3.10).
        sni: server name in the ClientHello (DS2 OpenWanSessionAsClient.30).
        suite: content encryption towards the partner (DS2 5.2.2).
    """

    name: str
    scenario: Scenario
    role: Role
    addresses: tuple[str, ...]
    tls: bytes
    sig: bytes = b""
    enc: bytes = b""
    description: str = ""
    keepalive: bool = False
    attempts: int = 3
    wait_s: int = 10
    idle_s: int = 0
    max_session_s: int = MAX_SESSION_S
    schedule_s: int = 0
    sni: str = ""
    suite: Literal["GCM", "CBC-CMAC"] = "GCM"

    def endpoints(self) -> tuple[Address, ...]:
        """Return the addresses, taken apart."""
        return tuple(parse_address(text) for text in self.addresses)


class Technician(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service technician: certificate login only (HKS1), granted until a moment."""

    name: str
    certificates: tuple[str, ...]
    until: str = ""

    def granted(self, now: DeviceTime) -> bool:
        """Tell whether access is granted at ``now``."""
        return not self.until or now < parse_device_time(self.until)


class HanProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The HAN side (WAN-24, T17): address mode, static address, limits, switched off or not."""

    mode: Literal["static", "dhcp"] = "dhcp"
    address: str = ""
    enabled: bool = True
    idle_s: int = 600
    max_session_s: int = MAX_SESSION_S


class LmnProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An LMN communication profile of one meter (T38).

    Attributes:
        meter: id of the meter.
        scenario: LKS1 asked for, LKS2 sent without being asked.
        protection: of the values.
        protocol: of the application.
        interval_s: pause between two readings of a wired meter.
        server_id: hex; Sensor-ID and id for key derivation where the meter's maker says another
            one than follows from its DIN 43863-5 id (DS v2.0 8.4).
        quirk: of the pairing protocol (:class:`lmn.sym.Quirk`).
    """

    meter: str
    scenario: Literal["LKS1", "LKS2"] = "LKS2"
    protection: Literal["TLS", "SYM", "NONE"] = "NONE"
    protocol: str = "SML"
    interval_s: int = 60
    server_id: str = ""
    quirk: Literal["", "emh-early"] = ""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters the administrator sets one by one.

    Attributes:
        time_method: WKS5 or WKS4 (TR-03109-1 v1.0 3.2.6.3.3: the GWA chooses).
        time_interval_s: pause between synchronisations.
        value_limit_kib: critical limit of value storage, 0: none (WAN-25).
        wakeup_enabled: the wake-up service (3.2.5.1: may be switched off and on again).
        wakeup_port: its port, 0: as configured at the factory.
        lmn_wired, lmn_wireless: unused interfaces are switched off (3.3.5).
    """

    time_method: Literal["NTP-TLS", "NTP-HTTPS"] = "NTP-TLS"
    time_interval_s: int = 3600
    value_limit_kib: int = 0
    wakeup_enabled: bool = True
    wakeup_port: int = 0
    lmn_wired: bool = True
    lmn_wireless: bool = True


class Limited(Protocol):
    """A profile with idle time and session length."""

    @property
    def idle_s(self) -> int:
        """Teardown when idle, 0: off."""

    @property
    def max_session_s(self) -> int:
        """Longest session."""


def check_wan(profile: WanProfile) -> None:
    """Check one WAN profile (T40 and 4.4.4).

    Raises:
        ConfigError: with the parameter and the reason.
    """
    where = f"wan profile {profile.name!r}"
    need(NAME.fullmatch(profile.name), f"{where}: name must match {NAME.pattern}")
    need(profile.addresses, f"{where}: addresses: at least one is needed")
    for address in profile.addresses:
        try:
            parse_address(address)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
    allowed = GWA_SCENARIOS if profile.role == "GWA" else EMT_SCENARIOS
    need(
        profile.scenario in allowed,
        f"{where}: scenario: {profile.scenario} is not for role {profile.role}",
    )
    need(profile.tls, f"{where}: tls: the partner's TLS certificate is missing")
    if profile.scenario not in BARE:
        need(profile.sig, f"{where}: sig: the partner's signature certificate is missing")
        need(profile.enc, f"{where}: enc: the partner's encryption certificate is missing")
    check_limits(where, profile)
    for name in ("attempts", "wait_s", "schedule_s"):
        need(0 <= getattr(profile, name) <= MAX_SESSION_S, f"{where}: {name} is out of range")


def check_limits(where: str, profile: Limited) -> None:
    """Check idle time and session length.

    Raises:
        ConfigError: above 48 h (T17, T18, T40), or negative.
    """
    need(
        0 < profile.max_session_s <= MAX_SESSION_S,
        f"{where}: max_session_s: {profile.max_session_s} is not in 1..{MAX_SESSION_S}",
    )
    need(0 <= profile.idle_s <= MAX_SESSION_S, f"{where}: idle_s is out of range")


def check_lmn(profile: LmnProfile, meters: set[str]) -> None:
    """Check an LMN profile.

    Raises:
        ConfigError: with the parameter and the reason.
    """
    where = f"lmn profile {profile.meter!r}"
    need(profile.meter.lower() in meters, f"lmn profile: meter {profile.meter} is not configured")
    need(1 <= profile.interval_s <= 86_400, f"{where}: interval_s: 1 to 86400")
    need(
        not profile.server_id or _SERVER_ID.fullmatch(profile.server_id),
        f"{where}: server_id: 6 to 14 octets in hex",
    )


def check_technician(profile: Technician) -> None:
    """Check a technician's access.

    Raises:
        ConfigError: with the parameter and the reason.
    """
    where = f"technician {profile.name!r}"
    need(NAME.fullmatch(profile.name), f"{where}: name must match {NAME.pattern}")
    need(profile.certificates, f"{where}: certificates: a technician logs in by certificate only")
    for value in profile.certificates:
        need(re.fullmatch(r"[0-9a-f]{64}", value), f"{where}: certificates: SHA-256 in hex")
    if profile.until:
        try:
            parse_device_time(profile.until)
        except RemoteProtocolError as error:
            raise ConfigError(f"{where}: until: {error}") from error
