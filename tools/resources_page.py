"""Write docs/resources.md from the class table."""

from __future__ import annotations

import sys
from pathlib import Path

from wan.admin.contract_object import CONTRACT
from wan.admin.image_object import IMAGES
from wan.admin.log_object import LOGS
from wan.admin.objects import CLOCK, DEVICE_NAME, GATEWAY, SETTINGS, VERSIONS
from wan.admin.security_object import SECURITY
from wan.cosem.classes import AttributeSpec, ClassSpec, load_classes

PAGE = Path(__file__).resolve().parents[1] / "docs" / "resources.md"
_OBJECTS = (
    (1, DEVICE_NAME),
    (65001, GATEWAY),
    (8, CLOCK),
    (65002, SETTINGS),
    (65004, VERSIONS),
    (64, SECURITY),
    (18, IMAGES),
    *((7, name) for name in LOGS),
)


def _attribute(spec: AttributeSpec) -> str:
    marks = [
        word
        for word, there in (
            ("write", spec.writable),
            ("optional", spec.optional),
            ("never read back", spec.secret),
        )
        if there
    ]
    shown = f"{spec.index} {spec.name} ({spec.kind}{', ' + ', '.join(marks) if marks else ''})"
    return shown.replace("_", "\\_")


def _row(spec: ClassSpec, name: str) -> str:
    attributes = "; ".join(_attribute(item) for item in spec.attributes.values() if item.index != 1)
    methods = ", ".join(f"{i} {m}" for i, m in spec.methods.items()).replace("_", "\\_")
    return f"| `{name}` | {spec.name} | {attributes} | {methods} | {spec.source} |"


def render() -> str:
    """Return the page."""
    classes = load_classes()
    head = ["| resource | class | attributes | methods | source |", "|---|---|---|---|---|"]
    objects = [_row(classes[class_id], f"{class_id}-{name}") for class_id, name in _OBJECTS]
    objects.append(_row(classes[65003], f"ldevs/<contract>.sm/objects/65003-{CONTRACT}"))
    profiles = [_row(spec, f"{spec.id}-{spec.container}") for spec in classes.values() if spec.kind]
    template = PAGE.parent.parent / "tools" / "resources_page.md"
    return template.read_text("utf-8").format(
        objects="\n".join([*head, *objects]), profiles="\n".join([*head, *profiles])
    )


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
    sys.stdout.write(f"{PAGE} written\n")
