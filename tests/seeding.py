"""Seeded faults: `Copy` is the one that `stepwatch selftest` uses, so that the tests try what users run."""

from bench.selftest.seeding import Copy, Matrix

__all__ = ["Copy", "Matrix"]
