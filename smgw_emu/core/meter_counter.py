"""The last message counter of a meter with a symmetric key (TR-03116-3 7.1, 7.3 no. 4 and 5).

One row for each meter, wired (SYM) or wireless; it rises with each authentic message and begins
anew with a new master key, and only then.
"""

from __future__ import annotations

from smgw_emu.core.store import Store

_NAME = "lmn-counter"


def last_counter(store: Store, meter: str) -> int | None:
    """Return the last counter, None while there was none."""
    text = store.get_meta(f"{_NAME} {meter}")
    return None if text is None else int(text)


def keep_counter(store: Store, meter: str, counter: int) -> None:
    """Remember a counter; it never goes back."""
    last = last_counter(store, meter)
    if last is None or counter > last:
        store.set_meta(f"{_NAME} {meter}", str(counter))


def restart_counter(store: Store, meter: str) -> None:
    """Begin a new row: the meter has a new master key."""
    store.set_meta(f"{_NAME} {meter}", "0")
