"""Manifests of earlier formats, brought up to date one step at a time."""

from typing import Any

FORMAT = 4


def migrate(content: dict[str, Any]) -> dict[str, Any]:
    """Bring a manifest of any earlier format, the first is 1, to `FORMAT`; a field that it lacks stays lacking."""
    for step in (migrate_1_to_2, migrate_2_to_3, migrate_3_to_4)[content["format"] - 1 :]:
        content = step(content)
    return content


def migrate_1_to_2(content: dict[str, Any]) -> dict[str, Any]:
    """Format 2 added what is read of a longer review, and when a verdict is withheld; every review had one before."""
    return {"reading": "head-tail", "uncertain_below": 0.5, "risk_coverage": [], **content, "format": 2}


def migrate_2_to_3(content: dict[str, Any]) -> dict[str, Any]:
    """Format 3 added the manifest's own SHA-256, which is verified before anything is migrated."""
    return {**content, "format": 3}


def migrate_3_to_4(content: dict[str, Any]) -> dict[str, Any]:
    """Format 4 calls `reading` `truncation`."""
    names = {"reading": "truncation"}
    return {**{names.get(name, name): value for name, value in content.items()}, "format": 4}
