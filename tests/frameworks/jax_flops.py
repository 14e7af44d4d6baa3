"""What XLA's cost analysis says of the layers and workloads that bench's JAX adapter builds; judges nothing.

`python jax_flops.py CASES FOLDER`: CASES is a JSON file of workloads by name. Leaves `found.json` in FOLDER.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from bench import backends
from bench.program import Settings
from bench.workload import Placed, Workload

BATCH = 3


class Layers(Workload, frozen=True):
    """Layers that need not end in logits: XLA counts one layer alone as gladly as a model."""

    def placed(self) -> tuple[Placed, ...]:
        found, shape = [], self.input
        for index, layer in enumerate(self.layers):
            found.append(Placed(f"layer_{index}", layer, shape, layer.out(shape)))
            shape = layer.out(shape)
        return tuple(found)


def counted(workload: Workload) -> dict[str, int]:
    """FLOP of the forward pass, and of it with all gradients, from the program as written: nothing is compiled."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from bench.backends.jax.layers import modules

    abstract, _ = modules(workload, jnp.float32)
    graph, parameters, rest = nnx.split(abstract, nnx.Param, ...)
    x = jax.ShapeDtypeStruct((BATCH, *workload.input), jnp.float32)

    def forward(parameters: Any, x: Any) -> Any:
        return nnx.merge(graph, parameters, rest)(x)

    def training(parameters: Any, x: Any, dy: Any) -> Any:
        y, pull = jax.vjp(forward, parameters, x)
        return y, pull(dy)

    def flops(function: Any, *arguments: Any) -> int:
        return int(jax.jit(function).lower(*arguments).cost_analysis().get("flops", 0))  # a reshape has none

    return {
        "infer": flops(forward, parameters, x),
        "train": flops(training, parameters, x, jax.eval_shape(forward, parameters, x)),
    }


def main(cases: Path, folder: Path) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    backend = backends.get("jax").module()
    settings = Settings("compiled", "fp32", "nhwc", "cpu", 1)
    backend.before_import(settings)
    backend.after_import(settings)
    found: dict[str, Any] = {"batch": BATCH}
    for name, workload in msgspec.json.decode(cases.read_bytes(), type=dict[str, Layers]).items():
        found[name] = counted(workload)
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
