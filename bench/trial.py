"""One case in its worker: its program is built, warmed, timed and inspected. It knows no records and no parent."""

from collections.abc import Iterator
from functools import cached_property
from itertools import cycle, islice, repeat
from statistics import median
from time import perf_counter
from typing import Any, cast

import numpy as np

from bench import clock, energy, evidence, feeds, memory, probes, quiet, sensors, warm_up
from bench.errors import BenchError
from bench.messages import Burst, Bursts, Inspect, Inspected, Warm, Warmed
from bench.program import BackendModule, HostFed, Settings
from bench.sensors import Watcher
from bench.workload import Workload

FIRST_CALLS = 3  # timed apart
BLOCKING = 0.9  # of its step: a call that takes as long does not return before its work is done
DISPATCHED = 8  # calls in a row that no framework's queue refuses
DISPATCHES = 5  # times that they are made
INPUT_BLOCKS, INPUT_BURSTS = 3, 5  # fed by the loader and on the device, in turns
FED_FIRST = 8  # steps before a fed burst counts: a loader that had a pause has batches ready
FENCES = 200  # a burst lasts as long as so many of them at least


class Trial:
    """Built by `Warm`, and alive until the next one."""

    def __init__(
        self,
        backend: BackendModule,
        workload: Workload | None,
        settings: Settings,
        phase: str,
        data: feeds.Data,
        host: feeds.Samples | None = None,
    ) -> None:
        """`workload` is None for a user's own program: its tensors and the size of its batches are its own affair.

        `host`: the same samples as they lie on disk, where the framework's own loader feeds them.
        """
        self.settings, self.phase, self.data = settings, phase, data
        self.ours = workload is not None
        self.resident = memory.reset_peak()
        started = perf_counter()
        self.program = backend.build(workload, settings)
        self.host = host
        if host and not hasattr(self.program, "load"):
            raise BenchError("the registry says that this backend loads, but its program has no `load`")
        self.feed = cast(HostFed, self.program).load(*host) if host else self.on_device
        self.build_seconds = perf_counter() - started

    @cached_property
    def on_device(self) -> Iterator[Any]:
        """The batches, put there when they are first asked for: a step that is fed from the host has none of them."""
        calls = feeds.calls(self.data, self.settings.steps_per_call)
        return cycle([self.program.put(x, y) for x, y in calls])

    @property
    def step(self) -> clock.Step:
        train, infer = self.program.train, self.program.infer
        return train if self.phase == "train" else infer

    def warm(self, question: Warm) -> Warmed:
        """The first calls, timed apart; then the pilot's warm-up again, or one that is detected."""
        program, step, feed = self.program, self.step, self.feed
        before = sensors.read_family()
        calls: list[float] = []
        losses: tuple[float, ...] = ()
        for _ in range(FIRST_CALLS):
            calls.append(clock.seconds(step, feed, program.fence))
            if self.settings.steps_per_call > 1 and self.phase == "train":
                losses += tuple(map(float, program.losses()))  # a program keeps 32 of them only
        beside = sensors.others((before, sensors.read_family()))
        for _ in range(evidence.FIRST_STEPS - FIRST_CALLS):
            step(next(feed))
        program.fence()
        # In training no logits ever leave the step: asking for them would compile another program.
        self.kinds = program.kinds(None if self.phase == "train" else program.infer(next(feed)))
        if self.ours and (reason := probes.misplaced(self.kinds, self.settings)):
            raise BenchError(reason)
        if self.phase == "train":
            losses = (*losses, *map(float, program.losses()))[: evidence.FIRST_STEPS]
        if question.foretold and self.phase == "infer":
            losses = self._infer_losses()
        # From here on, so that the bursts of a quick case are not too short for the kernel's counters.
        self.watch = Watcher(self.settings.device)
        started = perf_counter()
        if question.steps:
            warm_up.repeat(step, feed, program.fence, steps=question.steps)
            found = warm_up.WarmUp(question.steps, True)
        else:
            found = warm_up.detect(
                step,
                feed,
                program.fence,
                program.compilations,
                minimum_steps=question.minimum_steps,
                minimum_seconds=question.minimum_seconds,
                cap=question.cap_seconds,
            )
        warmed = perf_counter() - started
        fence = clock.fence_seconds(program.fence)
        self.per_burst = 0
        if not question.steps:
            wanted = max(question.burst_seconds, FENCES * fence)
            self.per_burst = warm_up.steps_per_burst(step, feed, program.fence, seconds=wanted)
        return Warmed(
            first_calls=tuple(calls),
            steps=found.steps,
            settled=found.settled,
            compilations=program.compilations(),
            kinds=self.kinds,
            fence_seconds=fence,
            steps_per_burst=self.per_burst,
            losses=losses,
            build_seconds=self.build_seconds,
            warm_seconds=sum(calls) + warmed,
            first_others_cores=beside,
        )

    def _infer_losses(self) -> tuple[float, ...]:
        return tuple(map(float, evidence.first_losses(self.program, "infer", self.data[: evidence.FIRST_STEPS])))

    def burst(self, question: Burst) -> Bursts:
        """Times the bursts; then looks whether the program falls silent, and once more if it seems not to."""
        if self.host:
            warm_up.repeat(self.step, self.feed, self.program.fence, steps=FED_FIRST)
        program, step, feed = self.program, self.step, self.feed
        compiled = program.compilations() or 0
        self.watch()
        started = perf_counter()
        timings = clock.bursts(
            step, feed, program.fence, steps=question.steps, count=question.count, between=self.watch
        )
        seconds, sensed = perf_counter() - started, self.watch.ended()
        grown, peak = (program.compilations() or 0) - compiled, program.peak_bytes()
        if peak is None and self.settings.device == "cpu":
            peak = memory.peak(self.resident)
        left_over = 0.0
        for attempt in range(quiet.TRIES if question.quiet_steps else 0):
            if attempt == 0 or left_over > question.quiet_seconds:
                found = self._left_over(question.quiet_steps)
                left_over = min(left_over, found) if attempt else found
        allowed = 0.0
        if question.quiet_seconds and left_over > question.quiet_seconds and self.settings.device == "cpu":
            # Idle threads may spin longer in this process than in the pilot's; a missing fence is no less seen.
            allowed = quiet.allowed(step, self.on_device, self._read, threads=self.settings.threads, tries=quiet.AGAIN)
        return Bursts(
            wall_ns=tuple(t.wall_ns for t in timings),
            cpu_ns=tuple(t.cpu_ns for t in timings),
            switches=tuple(t.switches for t in timings),
            compilations=grown,
            finite=not question.quiet_steps or all(bool(np.isfinite(a).all()) for a in program.weights().values()),
            peak_bytes=peak,
            left_over=left_over,
            sensed=sensed,
            seconds=seconds,
            quiet_seconds=allowed,
        )

    def inspect(self, question: Inspect) -> Inspected:
        """What the pilot asks last: it compiles another batch size, after which nothing is timed any more."""
        program, step, feed = self.program, self.step, self.on_device
        allowed = quiet.BACKLOG
        waited = self._input_share() if self.host else None
        if self.settings.device == "cpu":
            allowed = quiet.allowed(step, feed, self._read, threads=self.settings.threads)
        dispatch = median(
            clock.dispatch_seconds(step, feed, program.fence, steps=DISPATCHED) for _ in range(DISPATCHES)
        )
        joules = None
        if calls := question.energy_calls:
            steps, limit = self.settings.steps_per_call, question.energy_seconds
            device = self.settings.device
            joules = energy.measure(device, step, self.feed, program.fence, calls=calls, steps=steps, limit=limit)
        alone = self._one_image(dispatch)
        if not self.ours:
            self.program.weights()  # a second look: it refuses shapes that have changed since the bursts
        fed = self._fed_losses(self.host) if self.host and self.phase == "infer" else ()
        return Inspected(dispatch, alone, allowed, input_share=waited, energy=joules, fed_losses=fed)

    def _one_image(self, dispatch: float) -> float | None:
        """Seconds of a step on one image, beyond whose own floor a step of any size hardly takes the host.

        Always on a CPU, where times scatter too much to tell which calls do their work before they return; on a GPU,
        where it may compile for minutes, only where they do.
        """
        early = self.settings.device == "gpu" and dispatch < BLOCKING * self._a_step(self.on_device, DISPATCHED)
        if not self.ours or early or len(self.data[0][1]) == 1:
            return None
        alone = [(x[:1], y[:1]) for x, y in self.data[: self.settings.steps_per_call]]
        (call, *_) = feeds.calls(alone, self.settings.steps_per_call)
        image = repeat(self.program.put(*call))
        clock.burst(self.step, image, self.program.fence, steps=evidence.FIRST_STEPS)
        return self._a_step(image, 4 * DISPATCHED)

    def _input_share(self) -> float:
        """A pass of its own: blocks of bursts fed by the loader, and blocks on batches that are on the device."""
        steps, fence, count = self.per_burst, self.program.fence, INPUT_BURSTS
        fed, resident = list[clock.Timing](), list[clock.Timing]()
        for _ in range(INPUT_BLOCKS):
            warm_up.repeat(self.step, self.feed, fence, steps=FED_FIRST)
            fed += clock.bursts(self.step, self.feed, fence, steps=steps, count=count)
            resident += clock.bursts(self.step, self.on_device, fence, steps=steps, count=count)
        return 1 - median(t.wall_ns for t in resident) / median(t.wall_ns for t in fed)

    def _fed_losses(self, host: feeds.Samples) -> tuple[float, ...]:
        """Of the first batches of a fresh loader, in training: inference has moved no weight, and makes no loss."""
        program = self.program
        for batch in islice(cast(HostFed, program).load(*host), evidence.FIRST_STEPS):
            program.train(batch)
        program.fence()
        return tuple(map(float, program.losses()))

    def _a_step(self, feed: Iterator[Any], steps: int) -> float:
        """Seconds, by the median of a few bursts: one alone may meet anything."""
        bursts = [clock.burst(self.step, feed, self.program.fence, steps=steps) for _ in range(DISPATCHES)]
        return median(burst.wall_ns for burst in bursts) / 1e9 / steps

    def _left_over(self, steps: int) -> float:
        """On batches that are on the device: a loader may go on after a fence, it prepares the next ones."""
        if self.settings.device == "gpu":
            read = self._read if self.ours else self._read_all
            return quiet.backlog(self.step, self.on_device, self.program.fence, read, steps=steps)
        return quiet.after_fence(self.step, self.on_device, self.program.fence, steps=steps)

    def _read_all(self) -> None:
        """The weights too: in a program of the user's own they may come of another program than the losses."""
        self._read()
        if self.phase == "train":
            self.program.weights()

    def _read(self) -> None:
        """Brings to the host what the last step made: that has certainly happened then.

        The losses, where there are any: all weights take as long as idle threads spin, which is to be seen afterwards;
        and copied from a GPU, a tenth of a second with a spread that would hide a backlog. In our programs losses come
        of the last step's own program, or behind all others in the device's one queue.
        """
        if self.phase == "train" or not self.kinds:
            if not len(self.program.losses()):
                self.program.weights()
        else:
            x, _ = self.data[0]
            self.program.logits(x)
