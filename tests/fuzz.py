"""Fuzzing with Hypothesis: mutations of a good input, 10 000 of them in CI.

Hypothesis draws an input and a seed; nine more inputs are mutated from it by that seed, which costs a tenth of
drawing them. An input that fails is named in a note, to be kept as ``@example``.
"""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

_COUNTS = {"dev": 200, "ci": 10_000, "soak": 50_000}
_BATCH = 10
_MOST_EDITS, _LONGEST_CUT, _LONGEST_PIECE = 4, 8, 6

Edit = tuple[int, int, bytes]
Drawn = tuple[bytes, int]


def fuzz_count() -> int:
    """Return how many inputs each parser gets."""
    default = "ci" if os.environ.get("CI") else "dev"
    return _COUNTS[os.environ.get("HYPOTHESIS_PROFILE", default)]


def _mutate(good: bytes, edits: list[Edit]) -> bytes:
    data = bytearray(good)
    for position, length, replacement in edits:
        at = position % (len(data) + 1)
        data[at : at + length] = replacement
    return bytes(data)


def inputs(*good: bytes) -> st.SearchStrategy[bytes]:
    """Return arbitrary bytes and edited copies of good inputs."""
    edit = st.tuples(
        st.integers(0, 4095), st.integers(0, _LONGEST_CUT), st.binary(max_size=_LONGEST_PIECE)
    )
    edits = st.lists(edit, max_size=_MOST_EDITS)
    mutated = st.builds(_mutate, st.sampled_from(good or (b"",)), edits)
    return st.one_of(st.binary(max_size=256), mutated)


def _variants(drawn: Drawn, good: tuple[bytes, ...]) -> list[bytes]:
    """Return what was drawn, and mutations of it and of the good inputs."""
    data, seed = drawn
    chance = random.Random(seed)
    found = [data]
    for _ in range(_BATCH - 1):
        edits = [
            (
                chance.randrange(4096),
                chance.randint(0, _LONGEST_CUT),
                chance.randbytes(chance.randint(0, _LONGEST_PIECE)),
            )
            for _ in range(chance.randint(1, _MOST_EDITS))
        ]
        found.append(_mutate(chance.choice((data, *good)), edits))
    return found


def fuzz(*good: bytes) -> Callable[[Callable[..., None]], Any]:
    """Give a test ``data`` that is arbitrary or nearly good."""

    def decorate(test: Callable[..., None]) -> Any:
        @functools.wraps(test)
        def run(*args: Any, data: bytes | Drawn, **fixtures: Any) -> None:
            for one in [data] if isinstance(data, bytes) else _variants(data, good):
                try:
                    test(*args, data=one, **fixtures)
                except BaseException as error:
                    error.add_note(f"fuzzed input: {one!r}")
                    raise

        drawn = st.tuples(inputs(*good), st.integers(0, 2**32 - 1))
        return settings(max_examples=fuzz_count() // _BATCH)(given(data=drawn)(run))

    return decorate
