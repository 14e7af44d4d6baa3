"""A Vega-Lite specification as SVG, the same bytes every time."""

import re
from collections.abc import Mapping
from typing import Any

import vl_convert


def svg(specification: Mapping[str, Any]) -> str:
    """vl-convert numbers its clips through the life of a process: here they are numbered within the picture."""
    text = str(vl_convert.vegalite_to_svg(dict(specification)))
    names: dict[str, str] = {}
    return re.sub(r"\bclip\d+\b", lambda found: names.setdefault(found[0], f"clip{len(names) + 1}"), text)
