"""The workload as a careful PyTorch user would run it."""

from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import augmentation
from bench.backends.torch import device, loader
from bench.backends.torch.augment import augment
from bench.backends.torch.layers import enters_channels_first, modules
from bench.backends.torch.optimiser import optimiser, update
from bench.layers import GRU, LSTM
from bench.placement import Array
from bench.program import Settings
from bench.workload import Workload

# Of parameters, state, inputs and logits. In bf16 autocast hands contractions copies, and their results flow on.
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.float32, "fp64": torch.float64}
Batch = tuple[Tensor, ...]


class TorchProgram:
    """See `bench.program.Program`."""

    def __init__(self, workload: Workload, settings: Settings) -> None:
        self.workload, self.settings = workload, settings
        self.device = torch.device("cuda:0" if settings.device == "gpu" else "cpu")
        self.dtype = torch.int64 if workload.vocabulary else DTYPES[settings.precision]  # of what enters
        self.channels_first = enters_channels_first(workload)
        device.search(settings)
        torch.manual_seed(settings.seed)
        model, self.names = modules(workload, settings.layout)
        model = model.to(self.device, DTYPES[settings.precision])
        if settings.layout == "nhwc":
            # torch's stubs know only the overloads without memory_format.
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model: nn.Sequential = model
        self._load(workload.weights(settings.seed))
        self.optimiser = optimiser(workload.optimiser, model, settings, workload.recipe)
        self.update = update(workload.optimiser, self.optimiser, settings, workload.recipe)
        self._losses: deque[Tensor] = deque(maxlen=32)
        self._loss, self._forward = self._functions()
        self._graphs = device.compilations()
        device.reset_peak(settings)

    def _functions(self) -> tuple[Any, Any]:
        forward: Any = self.model
        if self.settings.precision == "bf16":

            def forward(x: Tensor) -> Tensor:
                with torch.autocast(self.device.type, torch.bfloat16):
                    logits: Tensor = self.model(x)
                return logits.float()

        def loss(x: Tensor, y: Tensor) -> Tensor:
            return functional.cross_entropy(forward(x), y)

        def loss_of_positions(x: Tensor, y: Tensor) -> Tensor:
            return functional.cross_entropy(forward(x).flatten(0, 1), y.flatten())

        def loss_by_recipe(x: Tensor, y: Tensor, *matrices: Tensor) -> Tensor:
            entering = augment(x, *matrices) if recipe.augment else x
            logits = forward(entering).reshape(-1, self.workload.classes)
            found = functional.cross_entropy(logits, y.flatten(), label_smoothing=recipe.smoothing)
            if recipe.l1:
                found = found + recipe.l1 * _absolute(trained)
            return found

        recipe, trained = self.workload.recipe, [p for p in self.model.parameters() if p.requires_grad]
        plain = loss_of_positions if self.workload.labels() else loss
        chosen: Any = loss_by_recipe if recipe.l1 or recipe.smoothing or recipe.augment else plain
        if self.settings.mode == "eager":
            return chosen, forward
        device.check_compiler(self.settings)
        from torch import _dynamo  # takes over a second, which eager programs are spared

        # Programs share their code objects, and Dynamo gives up after eight versions of one: each starts afresh.
        _dynamo.reset()
        _dynamo.utils.counters.clear()
        # Shapes are fixed here. Said by `dynamic=False` it would cost a hook around every call, 10 us in torch 2.13.
        _dynamo.config.automatic_dynamic_shapes = False
        # Dynamo leaves recurrent layers to their own fused kernels, and compiles what is around them.
        whole = not any(isinstance(place.layer, LSTM | GRU) for place in self.workload.walk())
        compiled = partial(torch.compile, fullgraph=whole, options=_options(self.settings))
        return compiled(chosen), compiled(forward)

    def _load(self, weights: dict[str, Array]) -> None:
        tensors = self._tensors()
        with torch.no_grad():
            for path, (name, placement) in self.names.items():
                tensors[name].copy_(torch.from_numpy(placement.to_framework(weights[path])))

    def _tensors(self) -> dict[str, Tensor]:
        """Parameters and state by torch's names."""
        return {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}

    def put(self, x: np.ndarray, y: np.ndarray) -> Batch:
        return self._placed(torch.from_numpy(x), torch.from_numpy(y))

    def load(self, images: np.ndarray, labels: np.ndarray, size: int) -> Iterator[Batch]:
        samples = loader.Samples(images, labels, self.workload.shape_samples)
        batches = loader.load(samples, size, pinned=self.settings.device == "gpu")
        return (self._placed(x, y) for x, y in batches)

    def _placed(self, x: Tensor, y: Tensor) -> Batch:
        # Not waited for: from pinned memory the copy goes on beside the host, from other memory there is no difference.
        entering = x.to(self.device, self.dtype, non_blocking=True)
        if self.channels_first:
            entering = entering.movedim(-1, 1)
        last = self.settings.layout == "nhwc"
        # A clone, not `contiguous`: an image of one channel counts as contiguous in both layouts, and torch's
        # convolution takes its layout from the strides that are there.
        entering = entering.clone(memory_format=torch.channels_last if last else torch.contiguous_format)
        labels = y.to(self.device, torch.int64, non_blocking=True)
        if not self.workload.recipe.augment:
            return entering, labels
        matrices = torch.from_numpy(augmentation.decide(x.numpy())).to(self.device, DTYPES[self.settings.precision])
        return entering, labels, matrices

    def train(self, batch: Batch) -> None:
        if not self.model.training:
            self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(*batch)
        loss.backward()
        self.update()
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
        tensors = self._tensors()
        kinds = {path: device.kind(tensors[name]) for path, (name, _) in self.names.items()}
        return kinds | ({} if logits is None else {"logits": device.kind(logits)})

    def peak_bytes(self) -> int | None:
        return device.peak_bytes(self.settings)

    def describe(self) -> str:
        return repr(self.model)

    def logits(self, x: np.ndarray) -> Array:
        return _array(self.infer(self.put(x, np.zeros(len(x), np.int32))))

    def gradients(self, x: np.ndarray, y: np.ndarray) -> dict[str, Array]:
        self.model.train()
        state = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        self.optimiser.zero_grad(set_to_none=True)
        self._loss(*TorchProgram.put(self, x, y)).backward()  # of one plain batch, however many a call goes through
        for name, buffer in self.model.named_buffers():
            buffer.copy_(state[name])  # of a BatchNorm, which every training pass moves
        parameters = dict(self.model.named_parameters())
        gradients = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
        return self._ours(gradients, self.workload.parameters())

    def weights(self) -> dict[str, Array]:
        return self._ours(self._tensors(), self.workload.parameters() | self.workload.state())

    def _ours(self, tensors: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
        found = {}
        for path, shape in shapes.items():
            name, placement = self.names[path]
            found[path] = placement.from_framework(_array(tensors[name]), shape)
        return found

    def losses(self) -> Array:
        values = np.array([float(loss) for loss in self._losses], np.float64)
        self._losses.clear()
        return values


def _absolute(parameters: list[nn.Parameter]) -> Tensor:
    return torch.stack([parameter.abs().sum() for parameter in parameters]).sum()


def _array(tensor: Tensor) -> Array:
    return np.array(tensor.detach().cpu().numpy(), np.float64)


def _options(settings: Settings) -> dict[str, bool] | None:
    """Inductor's own, without a kernel of LayerNorm's gradients that in fp64 does not compile: it sums in fp32."""
    if (settings.device, settings.precision) != ("gpu", "fp64"):
        return None
    from torch._inductor import list_options

    return {name: False for name in ("triton.mix_order_reduction",) if name in list_options()}
