"""FLOPs against the frameworks' own counters: PyTorch's exactly, XLA's with its known differences taken away.

test_layers.py counts the same by hand; here strangers do it.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from bench import workloads
from bench.layers import Conv1D, Conv2D, Dense, Flatten, Layer, MaxPool, ReLU, SelfAttention, Shape
from bench.workload import SGD, Workload

# layer, shape that enters; odd sizes, strides that leave pixels over, padding of several widths
CONVOLUTIONS: list[tuple[Conv2D, Shape]] = [
    (Conv2D(32, kernel=3, padding=1), (28, 28, 1)),
    (Conv2D(64, kernel=3, padding=1), (14, 14, 32)),
    (Conv2D(8, kernel=3, stride=2, padding=1), (8, 7, 3)),
    (Conv2D(4, kernel=5, stride=3, padding=2), (11, 10, 2)),
    (Conv2D(4, kernel=3), (7, 7, 2)),
    (Conv2D(4, kernel=1), (5, 4, 2)),
]
DENSE: list[tuple[Dense, Shape]] = [(Dense(128), (784,)), (Dense(1), (5,))]
OTHERS: list[tuple[Layer, Shape]] = [
    (ReLU(), (7, 5, 3)),
    (MaxPool(2, 2), (7, 5, 3)),
    (MaxPool(3, 2), (7, 7, 3)),
    (Flatten(), (7, 5, 3)),
]


def both(layer: Layer, shape: Shape) -> tuple[int, int]:
    """All operations of one sample, forward and backward, the gradient of the input included."""
    flops = layer.flops(shape)
    backward = flops.contraction_input_gradient + flops.contraction_weight_gradient + flops.elementwise_backward
    return flops.contraction_forward + flops.elementwise_forward, backward


def spoken(case: tuple[Layer, Shape]) -> str:
    return f"{case[0]} {case[1]}"


def model(*layers: Layer, enters: Shape) -> Workload:
    return Workload("", "", enters, 10, layers, SGD(0.01))


# --- PyTorch's counter, which counts matrix products and convolutions as we do, padding included ----------------------

TORCH = {
    # It counts nothing of an LSTM or GRU on a CPU, which is one operation to it.
    **{name: workloads.get(name) for name in workloads.names() if not name.startswith("lstm")},
    # Places of pixels are sums of their own: a matrix product would be rounded where TF32 is on.
    "cnn+augment": workloads.get("cnn+augment"),
    **{f"{spoken(c)} first": model(c[0], Flatten(), Dense(10), enters=c[1]) for c in CONVOLUTIONS},
    # Behind a layer with parameters: now somebody asks for the gradient of its input.
    **{
        f"{spoken(c)} second": model(Conv2D(c[1][2], kernel=1), c[0], Flatten(), Dense(10), enters=(*c[1][:2], 1))
        for c in CONVOLUTIONS
    },
}
OPERATIONS = {"products": ("addmm", "mm"), "convolutions": ("convolution", "convolution_backward")}
KINDS = {Dense: "products", SelfAttention: "products", Conv2D: "convolutions", Conv1D: "convolutions"}


@pytest.fixture(scope="module")
def torch_counted(framework: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    cases = tmp_path_factory.mktemp("cases") / "torch.json"
    cases.write_bytes(msgspec.json.encode(TORCH))
    return framework("torch_flops.py", str(cases))


@pytest.mark.needs("torch")
@pytest.mark.parametrize("phase", ["infer", "train"])
@pytest.mark.parametrize("name", TORCH)
def test_contractions_are_those_that_torch_counts(torch_counted: Any, name: str, phase: str) -> None:
    wanted = dict.fromkeys(OPERATIONS, 0)
    workload = TORCH[name].deterministic() if phase == "infer" else TORCH[name]
    for place, first in workload.placed_first():
        flops = place.layer.flops(place.enters)
        if type(place.layer) in KINDS:
            # Scores and mixed values are one operation, whose backward makes the scores anew: see below.
            square = 4 * place.enters[0] ** 2 * place.enters[1] if isinstance(place.layer, SelfAttention) else 0
            wanted[KINDS[type(place.layer)]] += torch_counted["batch"] * (
                flops.contraction_forward
                - square
                + (flops.contraction_weight_gradient - 2 * square if phase == "train" else 0)
                + (flops.contraction_input_gradient if phase == "train" and not first else 0)
            )
    found = {
        kind: sum(torch_counted[name].get(f"{phase} {operation}", 0) for operation in operations)
        for kind, operations in OPERATIONS.items()
    }
    assert found == wanted
    rest = {what: n for what, n in torch_counted[name].items() if "scaled_dot_product" not in what}
    assert sum(found.values()) == sum(n for what, n in rest.items() if what.startswith(phase))


@pytest.mark.needs("torch")
@pytest.mark.parametrize("name", ["gpt", "gpt_tiny", "transformer_text_tiny"])
def test_attentions_squares_are_those_that_torch_counts(torch_counted: Any, name: str) -> None:
    places = [p for p in TORCH[name].walk() if isinstance(p.layer, SelfAttention)]
    squares = torch_counted["batch"] * sum(4 * p.enters[0] ** 2 * p.enters[1] for p in places)
    counted = {what: n for what, n in torch_counted[name].items() if "scaled_dot_product" in what}
    forward = sum(n for what, n in counted.items() if what.startswith("infer"))
    assert forward in (squares, 0)  # torch does not count its own kernel for CPUs everywhere


# --- XLA's cost analysis ----------------------------------------------------------------------------------------------

XLA = {
    **{name: workloads.get(name) for name in ("mlp", "cnn")},
    **{spoken(c): model(c[0], enters=c[1]) for c in (*CONVOLUTIONS, *DENSE, *OTHERS)},
}


@pytest.fixture(scope="module")
def xla_counted(framework: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    cases = tmp_path_factory.mktemp("cases") / "xla.json"
    cases.write_bytes(msgspec.json.encode(XLA))
    return framework("jax_flops.py", str(cases))


def on_padding(layer: Layer, shape: Shape) -> int:
    """Taps of one sample's convolution that fall on padding, one multiply-add each; XLA leaves them out."""
    if not isinstance(layer, Conv2D):
        return 0
    outputs = layer.out(shape)
    taps = inside = 1
    for size, positions in zip(shape[:2], outputs[:2], strict=True):
        starts = range(-layer.padding, positions * layer.stride - layer.padding, layer.stride)
        inside *= sum(0 <= start + tap < size for start in starts for tap in range(layer.kernel))
        taps *= positions * layer.kernel
    return (taps - inside) * shape[2] * layer.filters


@pytest.mark.needs("jax")
@pytest.mark.parametrize("name", XLA)
def test_forward_flops_are_xlas_with_the_padding(xla_counted: Any, name: str) -> None:
    shape, total = XLA[name].input, 0
    for layer in XLA[name].layers:
        total += both(layer, shape)[0] - 2 * on_padding(layer, shape)
        shape = layer.out(shape)
    assert xla_counted[name]["infer"] == xla_counted["batch"] * total


@pytest.mark.needs("jax")
@pytest.mark.parametrize("case", [*CONVOLUTIONS, *DENSE], ids=spoken)
def test_training_flops_are_xlas_with_the_padding(xla_counted: Any, case: tuple[Layer, Shape]) -> None:
    layer, shape = case
    batch, units = xla_counted["batch"], layer.out(shape)[-1]
    each = sum(both(layer, shape)) - 3 * 2 * on_padding(layer, shape)
    # The sum of n terms takes n - 1 additions, and so does XLA's bias gradient; ours adds all n to zero.
    assert xla_counted[spoken(case)]["train"] == batch * each - units


@pytest.mark.needs("jax")
def test_relu_backward_is_one_operation_here_and_two_in_xla(xla_counted: Any) -> None:
    # XLA compares again and selects, where we count one product with the mask that forward had.
    (case,) = [c for c in OTHERS if isinstance(c[0], ReLU)]
    flops, elements = case[0].flops(case[1]), xla_counted["batch"] * prod(case[1])
    assert xla_counted[spoken(case)] == {"infer": elements, "train": 3 * elements}
    assert (flops.elementwise_forward, flops.elementwise_backward) == (prod(case[1]), prod(case[1]))


@pytest.mark.parametrize(
    ("case", "share"), [(CONVOLUTIONS[0], 0.047), (CONVOLUTIONS[1], 0.093), (CONVOLUTIONS[4], 0.0)], ids=str
)
def test_the_share_of_padding(case: tuple[Conv2D, Shape], share: float) -> None:
    # What the two counters differ by in the CNN's convolutions; a page that compares with XLA's numbers has to say it.
    assert 2 * on_padding(*case) / case[0].flops(case[1]).contraction_forward == pytest.approx(share, abs=5e-4)


# --- the sums of whole workloads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "phase", "flops"),
    [
        # 2 x (784 x 128 + 128 x 10) products, 128 + 10 biases, 128 comparisons
        ("mlp", "infer", 2 * (784 * 128 + 128 * 10) + 138 + 128),
        # again for the weights' gradients, and for the second layer's input's; biases and mask once more
        ("mlp", "train", 2 * (2 * 784 * 128 + 3 * 128 * 10) + 2 * (138 + 128)),
        ("mlp_dropout", "infer", 2 * (784 * 64 + 64 * 10) + 74 + 64),  # dropout is the identity here
        ("mlp_dropout", "train", 2 * (2 * 784 * 64 + 3 * 64 * 10) + 2 * (74 + 64 + 2 * 64)),
    ],
)
def test_sums(name: str, phase: str, flops: int) -> None:
    assert workloads.get(name).flops_per_sample(phase) == flops


def test_a_first_layer_spares_its_inputs_gradient() -> None:
    cnn = workloads.get("cnn")
    behind = replace(cnn, layers=(Conv2D(1, kernel=1), *cnn.layers))
    extra, spared = (layer.flops(cnn.input) for layer in behind.layers[:2])
    own = sum(both(behind.layers[0], cnn.input)) - extra.contraction_input_gradient
    assert (
        behind.flops_per_sample("train") - own - cnn.flops_per_sample("train") == spared.contraction_input_gradient > 0
    )


def test_dropout_is_the_identity_in_infer_and_costs_nothing_there() -> None:
    dropout = workloads.get("mlp_dropout")
    certain = dropout.deterministic()
    assert dropout.flops_per_sample("infer") == certain.flops_per_sample("infer")
    assert dropout.bytes_per_step("infer", 64, 4) == certain.bytes_per_step("infer", 64, 4)


def test_nobody_goes_back_through_what_stands_before_the_first_weights() -> None:
    mlp = workloads.get("mlp")
    behind = replace(mlp, layers=(ReLU(), *mlp.layers))
    assert behind.flops_per_sample("infer") - mlp.flops_per_sample("infer") == 784
    assert behind.flops_per_sample("train") - mlp.flops_per_sample("train") == 784
