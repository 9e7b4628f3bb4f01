"""Documentation that is generated stays true, and what it names exists."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import msgspec

from smgw_emu.core.usage_point import UsagePoint

ROOT = Path(__file__).resolve().parents[2]


def tool(name: str):
    """Load one of the programs that write pages."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_diagrams_match_the_tables():
    """docs/state-machines.md is what tools/diagrams.py writes."""
    module = tool("diagrams")
    assert module.PAGE.read_text() == module.render()


def test_the_tls_page_matches_presets_and_cases():
    """docs/tls.md is what tools/tls_page.py writes."""
    module = tool("tls_page")
    assert module.PAGE.read_text() == module.render()


def test_the_resources_page_matches_the_class_table():
    """docs/resources.md is what tools/resources_page.py writes."""
    module = tool("resources_page")
    assert module.PAGE.read_text() == module.render()


def test_the_tariffs_page_matches_the_use_cases_and_names_every_parameter():
    """docs/tariffs.md is what tools/tariffs_page.py writes."""
    module = tool("tariffs_page")
    text = module.PAGE.read_text()
    assert text == module.page()
    for field in msgspec.structs.fields(UsagePoint):
        assert f"`{field.name}`" in text, field.name


def test_the_states_page_matches_the_tables_and_the_lamp_model():
    """docs/secure-states.md is what tools/states_page.py writes."""
    module = tool("states_page")
    assert module.PAGE.read_text() == module.render()


def test_links_of_the_readme_and_docs_exist():
    """No dead link between our pages."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
