"""Several steps in one call on a GPU: captured once as a CUDA graph, replayed ever after.

It knows what a step is from `program.py`, and the batches' shapes from the first call with them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.backends.torch.program import Batch, TorchProgram
from bench.placement import Array
from bench.program import Settings
from bench.workload import Workload


class GraphedProgram(TorchProgram):
    """`put` takes `(steps, n, ...)`, perhaps fewer steps at the end; `train` and `infer` go through them in a call."""

    def __init__(self, workload: Workload, settings: Settings) -> None:
        super().__init__(workload, settings)
        self._replays: dict[tuple[str, int, torch.Size], Replay] = {}

    def put(self, x: np.ndarray, y: np.ndarray) -> list[Batch]:  # type: ignore[override]
        return [TorchProgram.put(self, *batch) for batch in zip(x, y, strict=True)]

    def train(self, batch: list[Batch]) -> None:  # type: ignore[override]
        self.model.train()
        # The graph writes its losses to one place, so that what is kept is a copy.
        self._losses.extend(self._replay("train", self._steps, batch)(batch).clone())

    def infer(self, batch: list[Batch]) -> Tensor:  # type: ignore[override]
        self.model.eval()
        return self._replay("infer", self._forwards, batch)(batch).clone()

    def logits(self, x: np.ndarray) -> Array:
        """Of as many batches alike: it is the `infer` that is timed, and its replay."""
        count = self.settings.steps_per_call
        batch = self.put(np.stack([x] * count), np.zeros((count, len(x)), np.int32))
        return np.array(self.infer(batch)[-1].cpu().numpy(), np.float64)

    def _steps(self, batches: list[Batch]) -> Tensor:
        losses = []
        for batch in batches:
            self.optimiser.zero_grad(set_to_none=True)
            loss = self._loss(*batch)
            loss.backward()
            self.update()
            losses.append(loss.detach())
        return torch.stack(losses)

    @torch.inference_mode()
    def _forwards(self, batches: list[Batch]) -> Tensor:
        return torch.stack([self._forward(x) for x, *_ in batches])

    def _replay(self, phase: str, work: Callable[[list[Batch]], Tensor], batches: list[Batch]) -> "Replay":
        key = phase, len(batches), batches[0][0].shape
        if key not in self._replays:
            self._replays[key] = Replay(work, batches, self._everything)
        return self._replays[key]

    def _everything(self) -> list[Tensor]:
        """All that a step moves."""
        moments = (value for state in self.optimiser.state.values() for value in state.values())
        tensors: list[Any] = [*self.model.parameters(), *self.model.buffers(), *moments]
        return [tensor for tensor in tensors if isinstance(tensor, Tensor)]


class Replay:
    """`work` on batches of its own, captured; a call copies others there and replays it."""

    def __init__(
        self, work: Callable[[list[Batch]], Tensor], batches: list[Batch], everything: Callable[[], list[Tensor]]
    ) -> None:
        self.batches = [tuple(tensor.clone() for tensor in batch) for batch in batches]
        # Capture computes nothing and wants all that happens once, compilation and the optimiser's first step, to have
        # happened on a stream of its own: what that moved is put back, and what is new of the optimiser begins at 0.
        before = [(tensor, tensor.detach().clone()) for tensor in everything()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            work(self.batches)
        torch.cuda.current_stream().wait_stream(stream)
        known = {id(tensor) for tensor, _ in before}
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)
            for tensor in everything():
                if id(tensor) not in known:
                    tensor.zero_()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=stream):
            self.result = work(self.batches)

    def __call__(self, batches: list[Batch]) -> Tensor:
        """What `work` returns, in the place where the next call will write too."""
        torch._foreach_copy_([t for batch in self.batches for t in batch], [t for batch in batches for t in batch])
        self.graph.replay()
        return self.result
