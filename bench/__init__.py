"""Stepwatch: the same training step in several frameworks, proved, timed and priced. Imports no framework."""

from typing import Any

__version__ = "0.1.0"


def load(folder: Any) -> Any:
    """A stored run as pandas frames, a `bench.api.Loaded`; see docs/analysis.md. Only the call imports pandas."""
    from importlib import import_module

    return import_module("bench.api").load(folder)
