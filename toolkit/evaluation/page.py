"""Pages that need nothing but themselves: no network, no script, pictures inside."""

import base64
from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import needs_extra


def render(template: str, pictures: Path | None = None, **content: object) -> str:
    """Fill in one of `templates/`; whatever comes from data is escaped.

    Args:
        template: its name.
        pictures: the folder of the pictures it shows.
        content: its variables.
    """
    with needs_extra("evaluate", "writing a report"):
        from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("toolkit.evaluation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "percent": _percent,
        "figure": _figure,
        "interval": _interval,
        "count": _count,
        "p": _p_value,
    }
    environment.globals["picture"] = lambda name: _data_uri(pictures / name) if pictures else ""
    return environment.get_template(template).render(content)


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}%"


def _figure(value: float) -> str:
    return f"{value:.4f}"


def _interval(bounds: Sequence[float], percent: bool = False) -> str:
    low, high = bounds
    return f"{_percent(low)} to {_percent(high)}" if percent else f"{low:.4f} to {high:.4f}"


def _count(number: int) -> str:
    return f"{number:,}"


def _p_value(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1g}"


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
