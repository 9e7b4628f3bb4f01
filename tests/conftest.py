"""Settings and fixtures every test shares."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support import START, new_gateway

_QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
for name, examples in (("dev", 50), ("ci", 300), ("soak", 5000)):
    settings.register_profile(
        name,
        max_examples=examples,
        deadline=None,
        derandomize=name == "ci",
        print_blob=True,
        suppress_health_check=_QUIET,
        stateful_step_count=100 if name == "soak" else 50,
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The recordings and vectors, wherever SMGW_DATA says they are."""
    folder = os.environ.get("SMGW_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SMGW_DATA does not name the folder with the recordings")
    return Path(folder)


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "gateway"
    new_gateway(folder)
    return folder


@pytest.fixture
def home(_template: Path, tmp_path: Path) -> Path:
    """A freshly made gateway directory; contracts begin at ``support.START``."""
    folder = tmp_path / "gateway"
    shutil.copytree(_template, folder)
    return folder


@pytest.fixture
def start() -> str:
    """Begin of the contracts of ``home``."""
    return START
