"""Builds every program of one backend on the CPU and writes down what each does; judges nothing.

`python programs.py BACKEND FOLDER` leaves `found.json` and one `.npz` a program in FOLDER. Run it in a fresh process.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from bench import backends, evidence, probes, workloads
from bench.errors import Unsupported
from bench.program import Program, Settings
from bench.workload import Workload

THREADS = 1  # not what any of the frameworks would take by itself on a machine with more cores


WHOLE = ("mlp", "mlp_dropout", "cnn")  # with all that is asked of a program
SMALL = tuple(name for name in workloads.names() if name.endswith("_tiny"))


def chosen(row: backends.Backend) -> list[tuple[Workload, str, str]]:
    """Workloads with their modes and layouts, a sample of all: what compiles for long is left to `make test-all`.

    The small models, whose words test_words.py has, are in torch alone, so that their golden evidence is held against
    something; other modes of two of the rest, and of Keras none; another layout in the headline mode.
    """
    found = []
    for workload in map(workloads.get, (*WHOLE, *(SMALL if row.name == "torch" else ()))):
        layouts = row.layouts if workload.has_layout() else ("flat",)
        several = workload.name in ("mlp", "cnn") and not row.engine
        cases = [(mode, layouts[0]) for mode in (row.modes if several else row.modes[:1])]
        cases += [(row.modes[0], layout) for layout in layouts[1:] if workload.name in WHOLE]
        found += [(workload, mode, layout) for mode, layout in cases]
    return found


def placed(program: Program, workload: Workload, name: str) -> dict[str, Any]:
    """The batch that `put` makes of five samples, and whether it keeps them when the host's arrays change."""
    draw = np.random.Generator(np.random.PCG64(0))
    x, y = aligned(draw.random((5, *workload.input), np.float32)), np.arange(5, dtype=np.int32)
    before = program.logits(x)
    batch = program.put(x, y)
    x[:] = 0
    after = np.asarray(program.infer(batch)).astype(np.float64)
    found: dict[str, Any] = {"kept": bool(np.array_equal(before, after))}
    found["dtypes"] = [getattr(array.dtype, "name", str(array.dtype).removeprefix("torch.")) for array in batch]
    found["shape"] = [int(size) for size in batch[0].shape]
    found["activations"] = torch_layouts(program, batch) if name == "torch" and workload.has_layout() else []
    return found


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy at a multiple of 64 bytes, which JAX would rather borrow than copy; NumPy's own are there by chance."""
    room = np.empty(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    placed = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    placed[:] = array
    return placed


def torch_layouts(program: Any, batch: Any) -> list[str]:
    """In which order the images between torch's layers really lie; with one channel both orders are the same."""
    import torch

    found, x = [], batch[0]
    with torch.no_grad():
        for module in program.model:
            x = module(x)
            if x.dim() == 4 and x.shape[1] > 1:
                found.append("nchw" if x.is_contiguous() else "nhwc")
    return found


def climbed(program: Program, workload: Workload, file: Path) -> dict[str, Any]:
    """The rungs of the ladder to `file`, then the small promises of the protocol on the same, now warm, program."""
    np.savez(file, **evidence.climb(program, workload))
    x, y = evidence.proof_batches(workload)[0]
    batch, found = program.put(x, y), {"left over": len(program.losses())}
    start = program.weights()
    for _ in range(3):
        program.infer(batch)
    program.fence()
    found["infer moves"] = moved(start, program.weights())
    compiled = program.compilations()
    program.train(batch)
    found["fence"] = program.fence()
    found["train moves"] = moved(start, program.weights())
    for _ in range(2):
        program.train(batch)
        program.infer(batch)
    program.fence()
    found["losses of three"] = program.losses().tolist()
    found["losses again"] = len(program.losses())
    found["compilations"] = compiled
    found["grown by old shapes"] = program.compilations() - compiled
    if workload.name == "mlp":  # another shape is compiled anew, which takes too long for all of them
        smaller = program.put(x[:3], y[:3])
        for _ in range(40):
            program.train(smaller)
        program.infer(smaller)
        program.fence()
        found["losses of forty"] = len(program.losses())
        found["grown by new shapes"] = program.compilations() - compiled
    found["peak bytes"] = program.peak_bytes()
    found["describe"] = program.describe()
    return found


def moved(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> list[str]:
    return [path for path in before if not np.array_equal(before[path], after[path])]


def stepped(program: Program, workload: Workload, file: Path) -> None:
    """Weights, and the gradients of the next batch at these weights, at each of three optimiser steps."""
    found: dict[str, np.ndarray] = {}
    for step, (x, y) in enumerate(evidence.proof_batches(workload)[:3]):
        found |= {f"{step}/gradient/{path}": array for path, array in program.gradients(x, y).items()}
        program.train(program.put(x, y))
        program.fence()
        found |= {f"{step}/weight/{path}": array for path, array in program.weights().items()}
    np.savez(file, **found)


def dropping(program: Program, certain: Program, workload: Workload) -> dict[str, Any]:
    """How far `infer` of a model with dropout is from that of the same model without, before and after training."""
    x, y = evidence.proof_batches(workload)[0]
    fresh = [program.logits(x) for _ in range(2)]
    wanted = certain.logits(x)
    batch = program.put(x, y)
    for _ in range(8):
        program.train(batch)
    program.fence()
    losses = program.losses().tolist()
    trained = [program.logits(x) for _ in range(2)]
    return {
        "fresh": [float(np.abs(logits - wanted).max()) for logits in fresh],
        "trained": float(np.abs(trained[0] - trained[1]).max()),
        "training moved": float(np.abs(trained[0] - fresh[0]).max()),
        "losses": losses,
    }


def threads(name: str) -> list[int]:
    """The sizes of the framework's own pools, by its own words or by the kernel's list of threads."""
    match backends.get(name).engine or name:
        case "torch":
            import torch

            return [torch.get_num_threads()]
        case "tensorflow":
            import tensorflow as tf

            pools = tf.config.threading
            return [pools.get_intra_op_parallelism_threads(), pools.get_inter_op_parallelism_threads()]
        case "jax":
            names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
            return [names.count("tf_XLAEigen"), len(os.sched_getaffinity(0))]
        case _:
            return []


def main(name: str, folder: Path) -> None:
    row = backends.get(name)
    backend = row.module()
    settings = Settings(row.modes[0], "fp32", row.layouts[0], "cpu", THREADS, str(folder / "cache"))
    imported = [package for package in row.packages if package in sys.modules]
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    backend.before_import(settings)
    facts = backend.after_import(settings)
    found: dict[str, Any] = {"imported": imported, "threads": facts.threads, "device": facts.device_name}
    found["disagreement"] = probes.disagreement(backend, settings)
    found["placed"], found["programs"], found["unsupported"], found["dropping"] = {}, {}, {}, {}
    for workload, mode, layout in chosen(row):
        certain, case = workload.deterministic(), f"{workload.name}-{mode}-{layout}"
        try:
            program = backend.build(certain, replace(settings, mode=mode, layout=layout, precision="fp64"))
        except Unsupported as error:
            found["unsupported"][case] = str(error)
            continue
        found["programs"][case] = climbed(program, certain, folder / f"{case}.npz")
    for workload in map(workloads.get, WHOLE):
        certain = workload.deterministic()
        for layout in row.layouts if workload.has_layout() else ("flat",):
            for precision in ("fp32", "fp64"):
                told = replace(settings, layout=layout, precision=precision)
                try:
                    program = backend.build(certain, told)
                except Unsupported:
                    continue
                found["placed"][f"{workload.name}-{layout}-{precision}"] = placed(program, certain, name)
        first = replace(settings, layout="flat" if not workload.has_layout() else settings.layout, precision="fp64")
        stepped(backend.build(certain, first), certain, folder / f"steps-{workload.name}.npz")
        if certain != workload:
            # One program at a time is alive where precision is a switch of the process: both are fp64.
            pair = backend.build(workload, first), backend.build(certain, first)
            found["dropping"][workload.name] = dropping(*pair, workload)
    found["two dropouts"] = {}
    for mode in row.modes[:1] if row.engine else row.modes:
        masks = probes.dropout_masks(backend, replace(settings, mode=mode), 0.5, 0.5)
        found["two dropouts"][mode] = (np.abs(masks) > 0.5).mean(-1).ravel().tolist()
    found["pools"] = threads(name)
    if name == "torch":
        import torch

        torch.set_flush_denormal(False)
        found["disagreement with denormals"] = probes.disagreement(backend, settings)
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
