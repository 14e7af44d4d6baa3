"""Stepwatch: the same training step in several frameworks, proved, timed and priced. Imports no framework."""

__version__ = "0.1.0"
