"""Waiting for a busy machine to fall quiet: before a process is started, never while one measures, never for long."""

from collections.abc import Sequence
from time import monotonic, sleep

from bench import sensors
from bench.sensors import Reading

BUSY = 0.1  # cores that others use; an idle Linux machine's own business stays under 0.03
LOOK = 0.5  # seconds between two readings of the kernel's counters, which tick every 10 ms


class Patience:
    """`seconds` in all for one run: a machine that is always busy is not waited for at every process."""

    def __init__(self, seconds: float) -> None:
        self.left, self.waited = seconds, 0.0
        self.suspects = True  # nothing is known of the machine yet

    def note(self, readings: Sequence[Reading]) -> None:
        """What was seen beside the last measurement decides whether the next one is worth a look."""
        self.suspects = (sensors.others(readings) or 0.0) > BUSY

    def wait(self) -> None:
        """Returns at once after a quiet measurement; else when others use less than `BUSY`, or patience is used up."""
        began = monotonic()
        while self.suspects and self.left > 0:
            before = sensors.read()
            sleep(min(LOOK, self.left))
            self.suspects = (sensors.others((before, sensors.read())) or 0.0) > BUSY
            self.left -= LOOK
        self.waited += monotonic() - began
