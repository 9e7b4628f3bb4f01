"""The configuration of one gateway: what factory and administrator have put into it.

Read from ``config.toml`` in the gateway's directory. Until an administrator can load profiles over
the WAN, this file stands in for the profiles of TR-03109-1 v1.0 chapter 10.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from smgw_emu.core.cls_profiles import ClsProfile, ProxyProfile, check_cls, check_proxies
from smgw_emu.core.errors import ConfigError, RemoteProtocolError
from smgw_emu.core.ids import MEDIUM_GATEWAY, DeviceId
from smgw_emu.core.meter_profile import Meter, check_meter
from smgw_emu.core.tariff.check import check_usage_point
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.wan_profiles import (
    HanProfile,
    LmnProfile,
    Technician,
    WanProfile,
    check_limits,
    check_lmn,
    check_technician,
    check_wan,
)

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}", re.ASCII)
_USER_ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}\.sm", re.ASCII)
_HEX_32 = re.compile(r"[0-9a-f]{32}", re.ASCII)
_HEX_64 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}", re.ASCII)  # IFNAMSIZ


class Gateway(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Identity: DIN 43863-5 id of medium E, behaviour profile, calibration authority.

    ``profile``: "" for what the firmware brings, else a lab's own behaviour. ``profile``,
    ``event_catalogue`` and ``obis_map`` may name files in the gateway's directory.
    """

    id: str
    profile: str = ""
    authority: str = "TEST"
    event_catalogue: str = ""
    obis_map: str = ""


class Clock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Device clock at power-up: validity, offset in ms and drift in ppb against world time."""

    valid: bool = True
    offset_ms: int = 0
    drift_ppb: int = 0


class Listener(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Address and TCP port of a listener; port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 0


class ClsPort(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a CLS asks for a transparent channel (HKS3): the [HAN]CLS port.

    ``host``: address. ``socks``: TCP port of the SOCKS server, 1080 on a device. ``tls``: TCP port
    of the proxy by TLS server name. 0 takes a free one. ``interface``: real interface both are
    bound to, "" for none (needs CAP_NET_RAW).
    """

    host: str = "127.0.0.1"
    socks: int = 0
    tls: int = 0
    interface: str = ""


class Wakeup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The wake-up port: address and UDP/TCP port (0: a free one), switched off by the GWA or not.

    Stands in for the address the administrator sets (TR-03109-1 v1.0 3.2.2 WAF1).
    """

    host: str = "127.0.0.1"
    port: int = 0
    enabled: bool = True


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The WAN below IP (WAN-01): which way is used, and what the mobile network gives.

    ``primary``: the way that is used; ``fallback``: the other one is used while it is down.
    ``ethernet``: the cable is in. ``modem``: signal of the mobile network, "absent" without one.
    ``han``, ``cls``: a cable is in these ports (HW-07).
    """

    primary: Literal["ethernet", "mobile"] = "ethernet"
    fallback: bool = False
    ethernet: bool = True
    modem: Literal["absent", "gut", "mittel", "schlecht", "kein-empfang"] = "absent"
    han: bool = True
    cls: bool = False

    @property
    def way(self) -> str:
        """The way in use, "" while there is none."""
        up = {"ethernet": self.ethernet, "mobile": self.modem not in {"absent", "kein-empfang"}}
        if up[self.primary]:
            return self.primary
        other = "mobile" if self.primary == "ethernet" else "ethernet"
        return other if self.fallback and up[other] else ""


class Separation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Real interfaces whose separation the self-test looks at (GW-67)."""

    wan: str
    han: str


class SecurityModule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The security module.

    ``kind``: ``card`` (hsm_sim) or ``pkcs11`` (a token such as SoftHSM2, extra ``pkcs11``).
    ``strict``: message keys and ephemeral pairs inside the module, the norm's command order in the
    log. ``seed``: reproducible random numbers and keys, for tests only. ``library`` and ``token``:
    PKCS#11 module and token label; its PIN is read from ``hsm.pin``.
    """

    kind: Literal["card", "pkcs11"] = "card"
    strict: bool = False
    seed: str = ""
    library: str = ""
    token: str = ""


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A meter port that exists before any meter profile: serial device, tcp:// or recording.

    ``protocol``: ``sml`` for meters that send without being asked (optical port), ``hdlc`` for the
    wired LMN, a bus of which the gateway is the primary, ``wmbus`` for a radio receiver, whose kind
    the source names (``/dev/ttyUSB0?stick=im871a``).
    """

    source: str
    protocol: Literal["sml", "hdlc", "wmbus"] = "sml"


class Consumer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A consumer (Letztverbraucher): login, user id, digest secrets, certificate fingerprints.

    ``ha1_md5`` and ``ha1_sha256`` are H(user:realm:password) in hex; the password is not kept.
    """

    login: str
    user_id: str
    ha1_md5: str = ""
    ha1_sha256: str = ""
    certificates: tuple[str, ...] = ()

    @property
    def logical_name(self) -> str:
        """``01005e318011.<login>.sm`` (IF_GW_CON A-2.5 example)."""
        return f"01005e318011.{self.login}.sm"

    def __repr__(self) -> str:
        return f"Consumer({self.login!r})"


class GatewayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    gateway: Gateway
    clock: Clock = Clock()
    han: Listener = Listener()
    control: Listener = Listener()
    wakeup: Wakeup | None = None
    link: Link = Link()
    separation: Separation | None = None
    security_module: SecurityModule = SecurityModule()
    line: tuple[Line, ...] = ()
    meter: tuple[Meter, ...] = ()
    consumer: tuple[Consumer, ...] = ()
    usage_point: tuple[UsagePoint, ...] = ()
    wan: tuple[WanProfile, ...] = ()
    technician: tuple[Technician, ...] = ()
    han_profile: HanProfile = HanProfile()
    lmn: tuple[LmnProfile, ...] = ()
    cls_port: ClsPort = ClsPort()
    cls: tuple[ClsProfile, ...] = ()
    proxy: tuple[ProxyProfile, ...] = ()

    @property
    def device_id(self) -> DeviceId:
        """The gateway's id."""
        return DeviceId.parse(self.gateway.id)

    def wan_profile(self, scenario: str) -> WanProfile | None:
        """Return the administrator's profile of a scenario."""
        found = (p for p in self.wan if p.scenario == scenario and p.role == "GWA")
        return next(found, None)

    def emt(self, name: str) -> WanProfile | None:
        """Return an EMT's profile by its name in a contract (``emt1`` or ``emt1.sm``)."""
        wanted = name.removesuffix(".sm")
        return next((p for p in self.wan if p.role == "EMT" and p.name == wanted), None)

    def consumers_of(self, meter: str) -> tuple[str, ...]:
        """Return the logins of the consumers a meter is assigned to."""
        return tuple(
            dict.fromkeys(
                point.consumer
                for point in self.usage_point
                if meter in {name.lower() for name in point.meters}
            )
        )


def parse_config(text: str) -> GatewayConfig:
    """Read and check a configuration.

    Raises:
        ConfigError: with the field and the reason, in one line.
    """
    try:
        config = msgspec.convert(tomllib.loads(text), GatewayConfig)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(str(error)) from error
    check_config(config)
    return config


def load_config(path: Path) -> GatewayConfig:
    """Read ``config.toml``.

    Raises:
        ConfigError: missing, unreadable or wrong.
    """
    try:
        return parse_config(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"no gateway here: {path} does not exist (smgw init makes one)"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def check_config(config: GatewayConfig) -> None:
    """Check what the types cannot: ids, references, ranges.

    Raises:
        ConfigError: with the element and the reason, in one line.
    """
    try:
        _check(config)
    except RemoteProtocolError as error:
        raise ConfigError(str(error)) from error


def _need(condition: object, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _check(config: GatewayConfig) -> None:
    _need(
        config.device_id.medium == MEDIUM_GATEWAY,
        f"gateway.id: {config.gateway.id} is not of medium E (DIN 43863-5)",
    )
    listeners = (config.han, config.control, config.wakeup or Listener())
    for port in (*(item.port for item in listeners), config.cls_port.socks, config.cls_port.tls):
        _need(0 <= port <= 65535, f"port {port} is not a TCP port")
    name = config.cls_port.interface
    _need(not name or _INTERFACE.fullmatch(name), f"cls_port: interface {name!r} is no name of one")
    _unique("meter", [meter.key for meter in config.meter])
    _unique("consumer", [consumer.login for consumer in config.consumer])
    _unique("consumer user_id", [consumer.user_id for consumer in config.consumer])
    _unique("usage_point", [point.name for point in config.usage_point])
    for meter in config.meter:
        check_meter(meter)
    for consumer in config.consumer:
        _check_consumer(consumer)
    _check_usage_points(config)
    _check_wan(config)


def _check_usage_points(config: GatewayConfig) -> None:
    meters = {meter.key: meter for meter in config.meter}
    logins = {consumer.login for consumer in config.consumer}
    others = {point.name: point for point in config.usage_point}
    for point in config.usage_point:
        faults = check_usage_point(point, meters, logins, others)
        reasons = "; ".join(f"{element}: {reason}" for element, reason in faults)
        _need(not faults, f"usage_point {point.name!r}: {reasons}")


def _check_wan(config: GatewayConfig) -> None:
    _unique("wan profile", [profile.name for profile in config.wan])
    _unique("technician", [profile.name for profile in config.technician])
    _unique("cls profile", [profile.name for profile in config.cls])
    _unique("proxy profile", [profile.name for profile in config.proxy])
    for profile in config.wan:
        check_wan(profile)
    _need(
        len({p.scenario for p in config.wan if p.role == "GWA"})
        == len([p for p in config.wan if p.role == "GWA"]),
        "wan: one profile of the administrator for each scenario",
    )
    admin = [p for p in config.wan if p.scenario in {"MANAGEMENT", "ADMIN-SERVICE"}]
    places = [{(a.host, a.port) for a in p.endpoints()} for p in admin]
    # TR-03109-1 v1.0 3.2.3: so the GWA can tell the type of an arriving connection
    _need(
        len(places) < 2 or not places[0] & places[1],
        "wan: MANAGEMENT and ADMIN-SERVICE need different transport addresses",
    )
    for technician in config.technician:
        check_technician(technician)
    check_limits("han profile", config.han_profile)
    if config.han_profile.mode == "static":
        try:
            ipaddress.ip_address(config.han_profile.address)
        except ValueError as error:
            raise ConfigError(f"han profile: address: {error}") from error
    known = {meter.key for meter in config.meter}
    for lmn in config.lmn:
        check_lmn(lmn, known)
    logins = {consumer.login for consumer in config.consumer}
    for cls in config.cls:
        check_cls(cls, logins)
    emts = {profile.name for profile in config.wan if profile.role == "EMT"}
    check_proxies(config.proxy, {cls.name: cls for cls in config.cls}, emts)


def _unique(what: str, names: list[str]) -> None:
    for name in names:
        _need(names.count(name) == 1, f"{what} {name!r} is given twice")


def _check_consumer(consumer: Consumer) -> None:
    where = f"consumer {consumer.login!r}"
    _need(_NAME.fullmatch(consumer.login), f"{where}: login must match {_NAME.pattern}")
    _need(_USER_ID.fullmatch(consumer.user_id), f"{where}: user_id must match {_USER_ID.pattern}")
    for value, form in ((consumer.ha1_md5, _HEX_32), (consumer.ha1_sha256, _HEX_64)):
        _need(not value or form.fullmatch(value), f"{where}: ha1 must be lower-case hex")
    for value in consumer.certificates:
        _need(_HEX_64.fullmatch(value), f"{where}: a certificate is named by its SHA-256 in hex")
