"""The harness proves itself: seeded faults, determinism, what it costs, interval coverage, hand-written loops."""
