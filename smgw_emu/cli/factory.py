"""``smgw init --factory``: a gateway with nothing but what a factory leaves in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from smgw_emu.cli.common import print_json
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import WorldTime


def make(
    directory: Path, factory: Path, pki_folder: Path | None, *, now: WorldTime, **plan: Any
) -> None:
    """Make the gateway and say what comes next.

    Raises:
        ConfigError: the card, the PKI or a value cannot be used.
    """
    from smgw_emu.bench.gwa.card import read_card
    from smgw_emu.bench.gwa.folder import PKI
    from smgw_emu.bench.pki.folder import open_folder, save_record
    from smgw_emu.lab.factory import NOTE, FactoryPlan, make_gateway

    card = read_card(factory / "administrator.json" if factory.is_dir() else factory)
    place = pki_folder or (factory / PKI if factory.is_dir() else None)
    if place is None:
        raise ConfigError("--factory CARD needs --pki DIR (smgw pki init makes one)")
    pki = open_folder(place, now.datetime())
    noted = make_gateway(directory, FactoryPlan(now, card, pki, **plan))
    save_record(pki, place)
    print_json(
        {
            "directory": str(directory),
            "id": noted.id,
            "delivery_note": str(directory / NOTE),
            "wakeup": noted.wakeup,
        }
    )
    click.echo(f"next: smgw gwa note {directory / NOTE}, then smgw run {directory}", err=True)
