"""``administrator.json``: what a factory leaves in a gateway about its administrator.

Certificates in PEM and the addresses of his services. Nothing in it is secret.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import msgspec

from smgw_emu.core.errors import ConfigError
from smgw_emu.core.wan_profiles import WanProfile, check_wan


class AdministratorCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An administrator.

    Attributes:
        name: for people.
        tls, sig, enc: certificates, PEM.
        management, admin_service, ntp: addresses ``https://host:port/poc`` in order of preference.
        sni: server name to ask for, "" for none.
    """

    name: str
    tls: str
    sig: str
    enc: str
    management: tuple[str, ...]
    admin_service: tuple[str, ...]
    ntp: tuple[str, ...] = ()
    sni: str = ""

    def profiles(self) -> tuple[WanProfile, ...]:
        """Return the WAN profiles of a factory: permanent MANAGEMENT, the others on demand.

        Raises:
            ConfigError: a certificate or an address cannot be used.
        """
        try:
            der = {name: first_certificate(getattr(self, name)) for name in ("tls", "sig", "enc")}
        except ValueError as error:
            raise ConfigError(f"administrator {self.name!r}: {error}") from error
        rows = (
            ("gwa-management", "MANAGEMENT", self.management),
            ("gwa-service", "ADMIN-SERVICE", self.admin_service),
            ("gwa-time", "NTP-TLS", self.ntp),
        )
        profiles = tuple(
            WanProfile(
                name,
                scenario,  # type: ignore[arg-type]
                "GWA",
                addresses,
                der["tls"],
                der["sig"],
                der["enc"],
                description=self.name,
                keepalive=scenario == "MANAGEMENT",
                sni=self.sni,
            )
            for name, scenario, addresses in rows
            if addresses
        )
        for profile in profiles:
            check_wan(profile)
        return profiles


def first_certificate(pem: str) -> bytes:
    """Return the first certificate of a PEM text in DER: the leaf, where a chain follows.

    Raises:
        ValueError: there is none.
    """
    end = "-----END CERTIFICATE-----"
    head, found, _ = pem.partition(end)
    begin = head.find("-----BEGIN CERTIFICATE-----")
    if not found or begin < 0:
        raise ValueError("no certificate in PEM form")
    return ssl.PEM_cert_to_DER_cert(head[begin:] + end)


def read_card(path: Path) -> AdministratorCard:
    """Read a card; certificates may also be names of PEM files beside it.

    Raises:
        ConfigError: missing or wrong.
    """
    try:
        card = msgspec.json.decode(path.read_bytes(), type=AdministratorCard)
        found = {
            name: value
            if "BEGIN CERTIFICATE" in (value := getattr(card, name))
            else (path.parent / value).read_text("ascii")
            for name in ("tls", "sig", "enc")
        }
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise ConfigError(f"cannot read the administrator's card {path}: {error}") from error
    card = msgspec.structs.replace(card, **found)
    card.profiles()
    return card


def write_card(path: Path, card: AdministratorCard) -> None:
    """Write a card."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")
