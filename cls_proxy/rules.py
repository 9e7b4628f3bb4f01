"""Who may have a channel: the administrator's profiles and nothing else.

A request only ever picks a configured proxy profile; there is no free destination (DS v2.0 11.3).
A channel may stand while its profile is in force, its CLS is registered with the certificate it
showed, and the certificates of both ends are valid; :func:`objection` is asked again whenever one
of these may have changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hsm_sim.certificates import read_certificate
from smgw_emu.core.cls_profiles import ClsProfile, ProxyProfile, emt_places
from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.wan_profiles import WanProfile


@dataclass(frozen=True, slots=True)
class Grant:
    """What a channel is allowed by.

    Attributes:
        proxy, cls, emt: the profiles, as they were.
        until: end of the proxy profile's validity.
    """

    proxy: ProxyProfile
    cls: ClsProfile
    emt: WanProfile

    @property
    def until(self) -> DeviceTime:
        """Return when the profile ends."""
        return self.proxy.window[1]

    @property
    def max_session_s(self) -> int:
        """Longest life of a channel: the stricter of both profiles."""
        return min(self.proxy.max_session_s, self.cls.max_session_s)

    @property
    def idle_s(self) -> int:
        """Longest silence, 0: any (T17: 0 is never; a kept channel does not end by idleness)."""
        limits = [p.idle_s for p in (self.proxy, self.cls) if p.idle_s and not p.keepalive]
        return min(limits, default=0)


def registered(config: GatewayConfig, fingerprint: str) -> ClsProfile | None:
    """Return the CLS a certificate (SHA-256, hex) belongs to."""
    return next((cls for cls in config.cls if fingerprint in cls.certificates), None)


def unreadable(certificate: bytes) -> str:
    """Return why a certificate cannot be used, "" if it can: its end must be known."""
    try:
        read_certificate(certificate)
    except RemoteProtocolError as error:
        return f"certificate cannot be read: {error}"
    return ""


def grants(config: GatewayConfig, now: DeviceTime, cls: str = "") -> Iterator[Grant]:
    """Yield what is allowed now, to one CLS or to all."""
    devices = {item.name: item for item in config.cls}
    for proxy in config.proxy:
        emt = config.emt(proxy.emt)
        if proxy.active(now) and cls in {"", proxy.cls} and emt is not None:
            yield Grant(proxy, devices[proxy.cls], emt)


def asked_by_name(config: GatewayConfig, now: DeviceTime, cls: str, name: str) -> Grant | None:
    """Return what a CLS may have under a server name (HKS3)."""
    found = (g for g in grants(config, now, cls) if _own(g) and name == g.proxy.server_name)
    return next(found, None) if name else None


def asked_by_place(
    config: GatewayConfig, now: DeviceTime, cls: str, host: str, port: int
) -> Grant | None:
    """Return what a CLS may have under an address of the EMT (Connect.36, wanPeerAddresses)."""
    for grant in grants(config, now, cls):
        if _own(grant) and (host, port) in emt_places(grant.proxy, grant.emt):
            return grant
    return None


def ordered(config: GatewayConfig, now: DeviceTime, proxy: str, scenario: str) -> Grant | str:
    """Return what the administrator's order or an event may open, or why not (HKS4, HKS5)."""
    known = next((item for item in config.proxy if item.name == proxy), None)
    if known is None:
        return f"no proxy profile {proxy!r}"
    if known.initiator != scenario:
        return f"proxy profile {proxy!r} is for {known.initiator}"
    found = next((g for g in grants(config, now) if g.proxy.name == proxy), None)
    return found if found is not None else f"proxy profile {proxy!r} is not valid now"


def objection(config: GatewayConfig, now: DeviceTime, grant: Grant, fingerprint: str) -> str:
    """Return why a channel may not stand any longer, "" if it may."""
    if not grant.proxy.active(now):
        return "profile has ended"
    new = next((item for item in config.proxy if item.name == grant.proxy.name), None)
    if new != grant.proxy:
        return "profile removed" if new is None else "profile changed"
    emt = config.emt(grant.proxy.emt)
    if emt is None or (emt.tls, emt.addresses) != (grant.emt.tls, grant.emt.addresses):
        return "profile of the EMT changed"
    known = next((item for item in config.cls if item.name == grant.cls.name), None)
    if known is None or (fingerprint and fingerprint not in known.certificates):
        return "certificate of the CLS revoked"
    return ""


def _own(grant: Grant) -> bool:
    return grant.proxy.initiator == "HKS3"
