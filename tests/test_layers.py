"""The vocabulary against counts made here by walking over every output, tap and element."""

from collections.abc import Callable, Iterator
from itertools import product
from math import prod

import msgspec
import numpy as np
import pytest

from bench.errors import BenchError
from bench.layers import (
    GELU,
    GRU,
    LSTM,
    AveragePool,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Flops,
    GlobalAveragePool,
    Layer,
    LayerNorm,
    MaxPool,
    PositionalEmbedding,
    ReLU,
    Residual,
    SelfAttention,
    Shape,
    Traffic,
    Word,
)

# layer, shape that enters, shape that leaves
SHAPES = [
    (Dense(128), (784,), (128,)),
    (Conv2D(32, kernel=3, padding=1), (28, 28, 1), (28, 28, 32)),
    (Conv2D(8, kernel=3), (28, 28, 1), (26, 26, 8)),
    (Conv2D(8, kernel=3, stride=2), (7, 7, 3), (3, 3, 8)),
    (Conv2D(8, kernel=3, stride=2), (8, 8, 3), (3, 3, 8)),  # the last row and column are under no tap
    (Conv2D(8, kernel=3, stride=2, padding=1), (8, 7, 3), (4, 4, 8)),
    (Conv2D(4, kernel=5, stride=3, padding=2), (11, 10, 2), (4, 4, 4)),
    (Conv2D(4, kernel=2, padding=1), (3, 3, 2), (4, 4, 4)),
    (Conv2D(4, kernel=1), (5, 4, 2), (5, 4, 4)),
    (Conv2D(4, kernel=5, padding=2), (1, 1, 2), (1, 1, 4)),  # the image is smaller than the kernel, its padding helps
    (MaxPool(2, 2), (28, 28, 32), (14, 14, 32)),
    (MaxPool(2, 2), (7, 5, 3), (3, 2, 3)),  # incomplete windows are dropped
    (MaxPool(3, 2), (7, 7, 3), (3, 3, 3)),  # windows overlap
    (MaxPool(2, 3), (7, 8, 3), (2, 3, 3)),  # windows leave gaps
    (MaxPool(3, 3), (3, 3, 1), (1, 1, 1)),
    (Flatten(), (7, 5, 3), (105,)),
    (Flatten(), (105,), (105,)),
    (ReLU(), (7, 5, 3), (7, 5, 3)),
    (ReLU(), (10,), (10,)),
    (Dropout(0.5), (10,), (10,)),
    (Dense(8), (7, 5), (7, 8)),
    (MaxPool(3, 2, padding=1), (8, 7, 3), (4, 4, 3)),
    (AveragePool(2, 2), (7, 5, 3), (3, 2, 3)),
    (GlobalAveragePool(), (7, 5, 3), (3,)),
    (GlobalAveragePool(), (7, 3), (3,)),
    (BatchNorm(), (7, 5, 3), (7, 5, 3)),
    (LayerNorm(), (7, 3), (7, 3)),
    (GELU(), (7, 3), (7, 3)),
    (Embedding(11, 4), (7,), (7, 4)),
    (PositionalEmbedding(), (7, 4), (7, 4)),
    (SelfAttention(2, causal=True), (7, 4), (7, 4)),
    (Conv1D(8, kernel=3, stride=2, padding=1), (7, 4), (4, 8)),
    (LSTM(8), (7, 4), (8,)),
    (LSTM(8, sequences=True), (7, 4), (7, 8)),
    (GRU(8), (7, 4), (8,)),
    (GRU(8, sequences=True), (7, 4), (7, 8)),
    (Residual((Dense(6), Dense(4))), (7, 4), (7, 4)),
    (Residual((Conv2D(6, 3, 2, 1),), (Conv2D(6, 1, 2),)), (7, 7, 4), (4, 4, 6)),
]
# layer, shape, what the message must say
ERRORS = [
    (Dense(10), (28, 28, 1), ["Dense", "(28, 28, 1)", "Flatten"]),
    (Conv2D(4), (784,), ["Conv2D", "image", "(784,)"]),
    (MaxPool(2), (784,), ["MaxPool", "image", "(784,)"]),
    (Conv2D(4, kernel=5), (4, 9, 1), ["5x5", "4x9"]),
    (Conv2D(4, kernel=5, padding=1), (2, 2, 1), ["3x3", "2x2"]),
    (MaxPool(3, 3), (9, 2, 1), ["3x3", "9x2"]),
    (MaxPool(2, 2, padding=2), (9, 9, 1), ["padding", "half"]),
    (AveragePool(3), (784,), ["AveragePool", "image", "(784,)"]),
    (GlobalAveragePool(), (4,), ["GlobalAveragePool", "(4,)"]),
    (Embedding(11, 4), (7, 4), ["Embedding", "tokens", "(7, 4)"]),
    (PositionalEmbedding(), (7,), ["PositionalEmbedding", "sequence", "(7,)"]),
    (SelfAttention(3), (7, 4), ["SelfAttention", "heads", "found 4"]),
    (Conv1D(4, kernel=5), (4, 2), ["at least 5", "found 4"]),
    (Conv1D(4), (4, 2, 1), ["Conv1D", "sequence", "(4, 2, 1)"]),
    (LSTM(4), (7,), ["LSTM", "sequence", "(7,)"]),
    (GRU(4), (7,), ["GRU", "sequence", "(7,)"]),
    (Residual((Dense(3),)), (4,), ["body", "(3,)", "shortcut", "(4,)"]),
]
PARAMETERS = [
    (Dense(128), (784,), {"kernel": (784, 128), "bias": (128,)}),
    (Conv2D(32, kernel=3), (28, 28, 4), {"kernel": (3, 3, 4, 32), "bias": (32,)}),
    (MaxPool(2), (4, 4, 1), {}),
    (Flatten(), (4, 4, 1), {}),
    (ReLU(), (4,), {}),
    (Dropout(0.1), (4,), {}),
    (Dense(8, bias=False), (7, 5), {"kernel": (5, 8)}),
    (Conv2D(8, 3, bias=False), (7, 5, 2), {"kernel": (3, 3, 2, 8)}),
    (AveragePool(), (4, 4, 1), {}),
    (GlobalAveragePool(), (4, 4, 1), {}),
    (BatchNorm(), (7, 5, 3), {"scale": (3,), "bias": (3,)}),
    (LayerNorm(), (7, 3), {"scale": (3,), "bias": (3,)}),
    (GELU(), (4,), {}),
    (Embedding(11, 4), (7,), {"table": (11, 4)}),
    (PositionalEmbedding(), (7, 4), {"table": (7, 4)}),
    (SelfAttention(2), (7, 4), {"qkv_kernel": (4, 12), "qkv_bias": (12,), "out_kernel": (4, 4), "out_bias": (4,)}),
    (Conv1D(8, 3), (7, 4), {"kernel": (3, 4, 8), "bias": (8,)}),
    (LSTM(3), (7, 4), {"kernel": (4, 12), "recurrent": (3, 12), "bias": (12,)}),
    (GRU(3), (7, 4), {"kernel": (4, 9), "recurrent": (3, 9), "bias": (9,), "recurrent_bias": (9,)}),
    (Residual((Dense(4),)), (4,), {}),
]
SMALL = [(layer, enters) for layer, enters, _ in SHAPES if prod(enters) < 1000]


@pytest.mark.parametrize(("layer", "enters", "leaves"), SHAPES, ids=str)
def test_shapes(layer: Layer, enters: Shape, leaves: Shape) -> None:
    assert layer.out(enters) == leaves


@pytest.mark.parametrize(("window", "stride", "padding"), [*product((1, 2, 3, 5), (1, 2, 3), (0, 1, 2))])
def test_positions_are_those_where_a_window_fits(window: int, stride: int, padding: int) -> None:
    conv, pool = Conv2D(1, kernel=window, stride=stride, padding=padding), MaxPool(window, stride)
    for size in range(1, 12):
        padded = size + 2 * padding
        positions = len([start for start in range(0, padded, stride) if start + window <= padded])
        for layer in (conv,) if padding else (conv, pool):
            if positions:
                assert layer.out((size, size, 1)) == (positions, positions, 1)
            else:
                with pytest.raises(BenchError):
                    layer.out((size, size, 1))


@pytest.mark.parametrize(("layer", "enters", "words"), ERRORS, ids=str)
def test_a_shape_that_does_not_fit_is_an_error_that_says_so(layer: Layer, enters: Shape, words: list[str]) -> None:
    with pytest.raises(BenchError) as caught:
        layer.out(enters)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(("layer", "enters", "wanted"), PARAMETERS, ids=str)
def test_parameters(layer: Layer, enters: Shape, wanted: dict[str, Shape]) -> None:
    assert layer.params(enters) == wanted


def test_every_word_of_the_vocabulary_is_here() -> None:
    assert {type(layer) for layer, *_ in SHAPES} == {type(layer) for layer, *_ in PARAMETERS} == set(Layer.__args__)


class Counted(np.ndarray):
    """An array that counts the elements of every operation done with it; a sum is an addition an element."""

    operations = 0

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: object, **named: object) -> object:
        plain = [x.view(np.ndarray) if isinstance(x, Counted) else x for x in inputs]
        found = getattr(ufunc, method)(*plain, **named)
        Counted.operations += plain[0].size if method == "reduce" else np.asarray(found).size
        return np.asarray(found).view(Counted)


def normalise(x: Counted) -> object:
    centred = x - np.add.reduce(x, 0) / 50.0
    deviation = np.sqrt(np.add.reduce(centred * centred, 0) / 50.0 + 1e-5)
    return centred * (1.0 / deviation) * np.ones(40) + np.ones(40)


# --- arithmetic, counted one operation at a time ----------------------------------------------------------------------


def windows(layer: Conv2D | MaxPool | AveragePool, shape: Shape) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Every (output position, input position or padding) pair that a sliding window visits."""
    height, width, _ = layer.out(shape)
    size = layer.kernel if isinstance(layer, Conv2D) else layer.size
    padding = getattr(layer, "padding", 0)
    for row, column, i, j in product(range(height), range(width), range(size), range(size)):
        yield (row, column), (row * layer.stride + i - padding, column * layer.stride + j - padding)


class Counting:
    """Naive NumPy layers that count what they do: products of a contraction with their sums, and everything else."""

    def __init__(self) -> None:
        self.multiply_adds = self.others = 0

    def conv(self, layer: Conv2D, x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
        padded = np.pad(x, ((layer.padding,) * 2, (layer.padding,) * 2, (0, 0)))
        y = np.zeros(layer.out(x.shape))
        for (row, column), (i, j) in windows(layer, x.shape):
            taps = (i - row * layer.stride + layer.padding, j - column * layer.stride + layer.padding)
            for c, f in product(range(x.shape[2]), range(layer.filters)):
                y[row, column, f] += padded[i + layer.padding, j + layer.padding, c] * kernel[*taps, c, f]
                self.multiply_adds += 1
        self.others += y.size
        return y + bias

    def conv_input_gradient(self, layer: Conv2D, shape: Shape, kernel: np.ndarray, dy: np.ndarray) -> np.ndarray:
        p = layer.padding
        padded = np.zeros((shape[0] + 2 * p, shape[1] + 2 * p, shape[2]))
        for (row, column), (i, j) in windows(layer, shape):
            for c, f in product(range(shape[2]), range(layer.filters)):
                tap = kernel[i - row * layer.stride + p, j - column * layer.stride + p, c, f]
                padded[i + p, j + p, c] += dy[row, column, f] * tap
                self.multiply_adds += 1
        return padded[p : p + shape[0], p : p + shape[1]]

    def conv_weight_gradient(self, layer: Conv2D, x: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = layer.padding
        padded = np.pad(x, ((p, p), (p, p), (0, 0)))
        kernel, bias = np.zeros(layer.params(x.shape)["kernel"]), np.zeros(layer.filters)
        for (row, column), (i, j) in windows(layer, x.shape):
            for c, f in product(range(x.shape[2]), range(layer.filters)):
                place = (i - row * layer.stride + p, j - column * layer.stride + p, c, f)
                kernel[place] += padded[i + p, j + p, c] * dy[row, column, f]
                self.multiply_adds += 1
        for row, column, f in np.ndindex(dy.shape):
            bias[f] += dy[row, column, f]
            self.others += 1
        return kernel, bias


CONVOLUTIONS = [(layer, enters) for layer, enters in SMALL if isinstance(layer, Conv2D)]


@pytest.mark.parametrize(("layer", "enters"), CONVOLUTIONS, ids=str)
def test_convolution_flops_are_those_of_naive_loops_whose_gradients_are_right(layer: Conv2D, enters: Shape) -> None:
    draw = np.random.Generator(np.random.PCG64(0))
    shapes = layer.params(enters)
    x, kernel, bias = draw.random(enters), draw.random(shapes["kernel"]), draw.random(shapes["bias"])
    dx, dkernel, dbias = draw.random(enters), draw.random(kernel.shape), draw.random(bias.shape)
    dy = draw.random(layer.out(enters))
    forward, inputs, weights = Counting(), Counting(), Counting()
    y = forward.conv(layer, x, kernel, bias)
    to_input = inputs.conv_input_gradient(layer, enters, kernel, dy)
    to_kernel, to_bias = weights.conv_weight_gradient(layer, x, dy)
    # A convolution is linear in x and in its parameters, so a derivative along a direction is one plain difference.
    assert np.sum(dy * (Counting().conv(layer, x + dx, kernel, bias) - y)) == pytest.approx(np.sum(to_input * dx))
    moved = Counting().conv(layer, x, kernel + dkernel, bias + dbias) - y
    assert np.sum(dy * moved) == pytest.approx(np.sum(to_kernel * dkernel) + np.sum(to_bias * dbias))
    counted = (forward.multiply_adds, inputs.multiply_adds, weights.multiply_adds)
    assert layer.flops(enters) == Flops(*(2 * n for n in counted), forward.others, weights.others)


@pytest.mark.parametrize(("inputs", "units"), [(784, 128), (3, 5), (1, 1), (5, 1)])
def test_dense_flops_are_one_multiply_add_for_each_pair(inputs: int, units: int) -> None:
    pairs = len([None for _ in product(range(inputs), range(units))])
    # y_j = sum_i x_i k_ij + b_j;  dx_i = sum_j k_ij dy_j;  dk_ij = x_i dy_j, added over the batch;  db_j = dy_j, added
    assert Dense(units).flops((inputs,)) == Flops(2 * pairs, 2 * pairs, 2 * pairs, units, units)


@pytest.mark.parametrize(("layer", "enters"), [case for case in SMALL if isinstance(case[0], MaxPool)], ids=str)
def test_pool_flops_are_its_comparisons_and_one_addition_an_output(layer: MaxPool, enters: Shape) -> None:
    seen: set[tuple[int, int]] = set()
    comparisons = 0
    for output, _ in windows(layer, enters):
        comparisons += output in seen  # the first of a window is compared with nothing
        seen.add(output)
    channels = enters[2]
    wanted = Flops(elementwise_forward=comparisons * channels, elementwise_backward=len(seen) * channels)
    assert layer.flops(enters) == wanted


@pytest.mark.parametrize(
    ("layer", "forward", "backward"), [(ReLU(), 1, 1), (Dropout(0.5), 2, 2), (Flatten(), 0, 0)], ids=str
)
def test_elementwise_flops(layer: Layer, forward: int, backward: int) -> None:
    # ReLU: one comparison, one product with its mask. Dropout: product with the mask and with the scale, each way.
    wanted = Flops(elementwise_forward=forward * 105, elementwise_backward=backward * 105)
    assert layer.flops((7, 5, 3)) == wanted


# --- memory traffic ---------------------------------------------------------------------------------------------------

# layer, enters: elements a sample forward and backward, then elements a step (parameters) forward and backward
TRAFFIC = [
    (Dense(3), (5,), 5 + 3, 5 + 3 + 5, 5 * 3 + 3, 2 * (5 * 3 + 3)),
    (Conv2D(2, kernel=3), (4, 4, 3), 48 + 8, 48 + 8 + 48, 54 + 2, 2 * (54 + 2)),
    (MaxPool(2), (5, 5, 3), 75 + 12, 12 + 75 + 75, 0, 0),
    (Flatten(), (5, 5, 3), 0, 0, 0, 0),
    (ReLU(), (10,), 20, 30, 0, 0),
    (Dropout(0.5), (10,), 30, 30, 0, 0),
    (Dense(3, bias=False), (7, 5), 35 + 21, 35 + 21 + 35, 15, 30),
    (MaxPool(3, 2, padding=1), (5, 5, 1), 25 + 9, 9 + 25 + 25, 0, 0),
    (AveragePool(2), (4, 4, 3), 48 + 12, 12 + 48, 0, 0),
    (GlobalAveragePool(), (4, 4, 3), 48 + 3, 3 + 48, 0, 0),
    (LayerNorm(), (7, 4), 56, 84, 8, 12),
    (GELU(), (10,), 20, 30, 0, 0),
    # tokens, their rows, y; tokens, y's gradient, rows read and written; the table's gradient is written whole
    (Embedding(11, 4), (7,), 7 + 28 + 28, 7 + 28 + 56, 0, 44),
    (PositionalEmbedding(), (7, 4), 56, 28, 28, 28),
    (Conv1D(2, 3), (5, 4), 20 + 6, 20 + 6 + 20, 26, 52),
    # x, and q k v; those and the heads' values; these and y: 10 times 28; 4 x 12 + 12 + 4 x 4 + 4 parameters
    (SelfAttention(2), (7, 4), 280, 560, 80, 160),
    # x, gates written and read, h and c; backward x's gradient and the gates' besides
    (LSTM(3), (7, 4), 28 + 2 * 84 + 2 * 21, 28 + 28 + 2 * 84 + 2 * 21 + 84, 96, 192),
    (GRU(3), (7, 4), 28 + 2 * 63 + 2 * 21, 28 + 28 + 2 * 63 + 2 * 21 + 63, 81, 162),
    (Residual((Dense(4),)), (7, 4), 84, 84, 0, 0),
]


@pytest.mark.parametrize(("layer", "enters", "forward", "backward", "once", "once_back"), TRAFFIC, ids=str)
def test_traffic(layer: Layer, enters: Shape, forward: int, backward: int, once: int, once_back: int) -> None:
    traffic = layer.bytes(enters)
    assert traffic == Traffic(forward, backward, once, once_back)
    assert traffic.bytes(batch=7, item_size=4) == (4 * (7 * forward + once), 4 * (7 * backward + once_back))


def test_batchnorm_moves_less_in_inference() -> None:
    traffic = BatchNorm().bytes((7, 3))
    assert traffic == Traffic(63, 105, 12, 12, inference_sample=42)
    assert traffic.inference_bytes(batch=5, item_size=4) == 4 * (5 * 42 + 12)
    assert LayerNorm().bytes((7, 3)).inference_bytes(batch=5, item_size=4) == 4 * (5 * 42 + 6)


# --- arithmetic of the newer words, counted by NumPy's own operations -------------------------------------------------

# layer, enters, elementwise operations forward of one sample; terms that do not grow with the positions are left out
ELEMENTWISE: list[tuple[Layer, Shape, Callable[[Counted], object]]] = [
    (LayerNorm(), (50, 40), normalise),
    (BatchNorm(), (50, 40), normalise),
    (GELU(), (50, 40), lambda x: x * 0.5 * (np.tanh(x * 0.7) + 1.0)),  # tanh counts as erf does
    (GELU(tanh=True), (50, 40), lambda x: x * 0.5 * (np.tanh((x * x * x * 0.044715 + x) * 0.8) + 1.0)),
    (PositionalEmbedding(), (50, 40), lambda x: x + np.ones((50, 40))),
    (GlobalAveragePool(), (50, 40), lambda x: np.add.reduce(x, 0) * 0.02),
    (Residual((ReLU(),)), (50, 40), lambda x: x + np.ones((50, 40))),
]


@pytest.mark.parametrize(
    ("layer", "enters", "formula"), ELEMENTWISE, ids=lambda x: str(x) if isinstance(x, Word) else ""
)
def test_elementwise_flops_are_those_of_the_formula(
    layer: Layer, enters: Shape, formula: Callable[[Counted], object]
) -> None:
    Counted.operations = 0
    formula(np.ones(enters).view(Counted))
    # Counts of the paper's formula, where the moments' own few operations are beside the elements'.
    assert layer.flops(enters).elementwise_forward == pytest.approx(Counted.operations, rel=0.03)
    assert layer.flops(enters).contraction_forward == 0


def test_attention_flops_are_its_products_and_those_of_its_gradients() -> None:
    t, f, heads = 7, 4, 2
    products = {"qkv": (t, f, 3 * f), "scores": (heads * t, f // heads, t), "mix": (heads * t, t, f // heads)}
    sizes = {name: 2 * prod(shape) for name, shape in products.items()} | {"out": 2 * t * f * f}
    found = SelfAttention(heads).flops((t, f))
    assert found.contraction_forward == sum(sizes.values())
    # Each product has two gradients; of the first one, that of x is asked for only behind other parameters.
    assert found.contraction_input_gradient == sizes["qkv"]
    assert found.contraction_weight_gradient == 2 * sum(sizes.values()) - sizes["qkv"]
    assert SelfAttention(heads, causal=True).flops((t, f)) == found


@pytest.mark.parametrize(("layer", "gates"), [(LSTM(3), 4), (GRU(3), 3)], ids=str)
def test_recurrent_flops_are_its_products_and_those_of_its_gradients(layer: Layer, gates: int) -> None:
    t, f, units = 7, 5, 3
    outer, inner = 2 * t * f * gates * units, 2 * t * units * gates * units
    found = layer.flops((t, f))
    assert (found.contraction_forward, found.contraction_input_gradient) == (outer + inner, outer)
    assert found.contraction_weight_gradient == outer + 2 * inner


def test_an_embeddings_gradient_is_added_row_by_row() -> None:
    assert Embedding(11, 4).flops((7,)) == Flops(elementwise_backward=28)


@pytest.mark.parametrize(("layer", "enters"), SMALL, ids=str)
def test_a_layer_survives_json(layer: Layer, enters: Shape) -> None:
    assert msgspec.json.decode(msgspec.json.encode(layer), type=Layer) == layer
