"""Wireless LMN: wM-Bus of EN 13757-4 and its security (``lmn-wireless.md``).

From the air inwards: :mod:`.coding` and :mod:`.air` (chips), :mod:`.link` (frames), :mod:`.ell`,
:mod:`.afl`, :mod:`.tpl` (headers), :mod:`.security`, :mod:`.telegram` (all layers), :mod:`.inbox`
(what is accepted), :mod:`.measured` (when), :mod:`.heard` (who is there). The records inside are
:mod:`lmn.mbus`.
"""

from lmn.wmbus.heard import HeardList, Station
from lmn.wmbus.inbox import Inbox, Meter, Result, Verdict
from lmn.wmbus.link import Address, Control
from lmn.wmbus.telegram import Telegram, open_telegram, parse_telegram

__all__ = [
    "Address",
    "Control",
    "HeardList",
    "Inbox",
    "Meter",
    "Result",
    "Station",
    "Telegram",
    "Verdict",
    "open_telegram",
    "parse_telegram",
]
