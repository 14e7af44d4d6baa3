"""The workload as a careful PyTorch user would run it."""

import os
import shutil
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.backends.torch import device
from bench.backends.torch.layers import modules
from bench.backends.torch.optimiser import optimiser
from bench.errors import Unsupported
from bench.placement import Array
from bench.program import Settings
from bench.workload import Workload

DTYPES = {"fp32": torch.float32, "fp64": torch.float64}
Batch = tuple[Tensor, Tensor]


class TorchProgram:
    """See `bench.program.Program`."""

    def __init__(self, workload: Workload, settings: Settings) -> None:
        self.workload, self.settings = workload, settings
        self.device = torch.device("cuda:0" if settings.device == "gpu" else "cpu")
        torch.manual_seed(settings.seed)
        model, self.names = modules(workload, settings.layout)
        model = model.to(self.device, DTYPES[settings.precision])
        if settings.layout == "nhwc":
            # torch's stubs know only the overloads without memory_format.
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model: nn.Sequential = model
        self._load(workload.weights(settings.seed))
        # Fused wins on a GPU; on a CPU torch's plain loop over the parameters costs the least for so few of them.
        # torch refuses to optimise nothing; a model without parameters, a ceiling's say, is only run forward.
        parameters = list(model.parameters()) or [nn.Parameter(torch.empty(0))]
        self.optimiser = optimiser(workload.optimiser, parameters, fused=settings.device == "gpu")
        self._losses: deque[Tensor] = deque(maxlen=32)
        self._loss, self._forward = self._functions()
        self._graphs = device.compilations()
        device.reset_peak(settings)

    def _functions(self) -> tuple[Any, Any]:
        def loss(x: Tensor, y: Tensor) -> Tensor:
            return functional.cross_entropy(self.model(x), y)

        if self.settings.mode == "eager":
            return loss, self.model
        if self.settings.device == "cpu" and not _compiler():
            raise Unsupported("torch.compile on a CPU wants a C++ compiler, found none: install g++ or set CXX")
        import torch._dynamo  # takes over a second, which eager programs are spared

        # Programs share their code objects, and Dynamo gives up after eight versions of one: each starts afresh.
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        # Shapes are fixed here. Said by `dynamic=False` it would cost a hook around every call, 10 us in torch 2.13.
        torch._dynamo.config.automatic_dynamic_shapes = False
        return torch.compile(loss, fullgraph=True), torch.compile(self.model, fullgraph=True)

    def _load(self, weights: dict[str, Array]) -> None:
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for path, (name, placement) in self.names.items():
                parameters[name].copy_(torch.from_numpy(placement.to_framework(weights[path])))

    def put(self, x: np.ndarray, y: np.ndarray) -> Batch:
        images = torch.from_numpy(x).to(self.device, DTYPES[self.settings.precision])
        if self.workload.has_layout():
            images = images.permute(0, 3, 1, 2)
        last = self.settings.layout == "nhwc"
        # A clone, not `contiguous`: an image of one channel counts as contiguous in both layouts, and torch's
        # convolution takes its layout from the strides that are there.
        images = images.clone(memory_format=torch.channels_last if last else torch.contiguous_format)
        return images, torch.from_numpy(y).to(self.device, torch.int64)

    def train(self, batch: Batch) -> None:
        if not self.model.training:
            self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(*batch)
        loss.backward()
        self.optimiser.step()
        self._losses.append(loss.detach())

    def infer(self, batch: Batch) -> Tensor:
        if self.model.training:
            self.model.eval()
        with torch.inference_mode():
            logits: Tensor = self._forward(batch[0])
        return logits

    def fence(self) -> None:
        device.fence()

    def compilations(self) -> int:
        return max(0, device.compilations() - self._graphs)  # another program's build sets the count to 0

    def kinds(self, logits: Tensor | None = None) -> dict[str, str]:
        tensors: dict[str, Tensor] = {path: self.model.get_parameter(name) for path, (name, _) in self.names.items()}
        tensors |= {} if logits is None else {"logits": logits}
        return {path: device.kind(tensor) for path, tensor in tensors.items()}

    def peak_bytes(self) -> int | None:
        return device.peak_bytes(self.settings)

    def describe(self) -> str:
        return repr(self.model)

    def logits(self, x: np.ndarray) -> Array:
        return _array(self.infer(self.put(x, np.zeros(len(x), np.int32))))

    def gradients(self, x: np.ndarray, y: np.ndarray) -> dict[str, Array]:
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        self._loss(*self.put(x, y)).backward()
        parameters = dict(self.model.named_parameters())
        gradients = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
        return self._ours(gradients)

    def weights(self) -> dict[str, Array]:
        return self._ours(dict(self.model.named_parameters()))

    def _ours(self, tensors: dict[str, Any]) -> dict[str, Array]:
        shapes = self.workload.parameters()
        return {
            path: placement.from_framework(_array(tensors[name]), shapes[path])
            for path, (name, placement) in self.names.items()
        }

    def losses(self) -> Array:
        values = np.array([float(loss) for loss in self._losses], np.float64)
        self._losses.clear()
        return values


def _array(tensor: Tensor) -> Array:
    return np.array(tensor.detach().cpu().numpy(), np.float64)


def _compiler() -> str | None:
    wanted = os.environ.get("CXX")
    return shutil.which(wanted) if wanted else shutil.which("g++") or shutil.which("clang++")
