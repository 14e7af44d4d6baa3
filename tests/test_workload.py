"""Workloads: what is declared, what is drawn from a seed, and what makes two of them other work."""

import hashlib
from math import prod
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bench import workloads
from bench.errors import BenchError
from bench.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, MaxPool, ReLU, Residual
from bench.recipe import RECIPES
from bench.workload import SGD, Adam, Proof, Workload, batches

MLP, CNN, DROPOUT = (workloads.get(name) for name in ("mlp", "cnn", "mlp_dropout"))


PUBLISHED = [
    *(("mlp", 101_770), ("cnn", 421_642), ("mlp_dropout", 50_890)),
    ("resnet50", 25_557_032),  # as torchvision publishes it
    # nanoGPT says 10.65 M, without 98 304 of positions, 24 960 of a head of its own and 25 728 of biases.
    ("gpt", 10_646_784 + 98_304 + 24_960 + 25_728),
    # Nobody publishes these: they are ours, counted by hand, and docs/workloads.md has them.
    *(("transformer_text", 8_345_602), ("lstm_text", 2_823_426), ("speech_cnn", 806_691)),
]


@pytest.mark.parametrize(("name", "count"), PUBLISHED)
def test_parameter_count(name: str, count: int) -> None:
    workload = workloads.get(name)
    assert workload.parameter_count() == count
    state = sum(prod(shape) for shape in workload.state().values())
    assert sum(array.size for array in workload.weights(1).values()) == count + state


@pytest.mark.parametrize(("name", "most"), [("mlp", 64), ("gpt_tiny", 64), ("resnet50", 16), ("gpt", 16)])
def test_the_proof_of_a_large_model_foretells_small_batches_alone(name: str, most: int) -> None:
    assert workloads.get(name).proof.foretold == most


@pytest.mark.parametrize("name", workloads.names())
def test_every_shipped_workload_is_whole(name: str) -> None:
    workload = workloads.get(name)
    assert workload.name == name
    assert workload.description
    assert workload.takes_28x28() == (name in ("mlp", "mlp_dropout", "cnn"))
    assert workload.has_layout() == (len(workload.input) == 3)
    shapes = {path: array.shape for path, array in workload.weights(1).items()}
    assert shapes == workload.parameters() | workload.state()


@pytest.mark.parametrize("name", workloads.names())
def test_every_workload_of_some_size_has_a_tiny_one(name: str) -> None:
    workload = workloads.get(name)
    if workload.takes_28x28() or name.endswith("_tiny"):
        return
    tiny = workloads.get(f"{name}_tiny")
    assert tiny.flops_per_sample("train") < 1e8 < workload.flops_per_sample("train")
    words = [{type(place.layer).__name__ for place in one.walk()} for one in (workload, tiny)]
    assert words[0] - words[1] <= {"Dropout"}, "a word of the large one is not tried in the tiny one"


def test_resnet50_is_the_published_one() -> None:
    workload = workloads.get("resnet50")
    assert sum(prod(shape) for shape in workload.state().values()) == 53_120  # with them 25 610 152, as Keras counts
    products = sum(place.layer.flops(place.enters).contraction_forward for place in workload.walk())
    assert products == 2 * 4_089_184_256  # torchvision says 4.09 billion multiply-adds
    assert [p.leaves for p in workload.placed() if p.body][-1] == (7, 7, 2048)
    # The stride is in the 3x3 convolution, not in the first 1x1 as in the paper.
    strides = {p.layer.kernel for p in workload.walk() if isinstance(p.layer, Conv2D) and p.layer.stride == 2}
    assert strides == {7, 3, 1}
    pixels = [p.path for p in workload.walk() if isinstance(p.layer, Conv2D) and p.layer.kernel < p.layer.stride]
    assert pixels == [f"residual_{block}.conv2d_4" for block in (4, 8, 14)]


def test_a_file_may_offer_a_smaller_size_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from bench.layers import Dense\nfrom bench.workload import SGD, Workload\n"
    made = "{} = Workload('{}', '', (784,), 10, (Dense({}), Dense(10)), SGD(0.1))\n"
    (tmp_path / "heavy.py").write_text(
        text + made.format("WORKLOAD", "heavy", 1024) + made.format("TINY", "heavy_tiny", 8)
    )
    (tmp_path / "alone.py").write_text(text + made.format("WORKLOAD", "alone", 8))
    monkeypatch.setattr(workloads, "__path__", [*workloads.__path__, str(tmp_path)])
    more = {"alone", "heavy", "heavy_tiny"}
    assert more <= set(workloads.names()) and "alone_tiny" not in workloads.names()
    assert workloads.names() == sorted(set(workloads.names())) == workloads.shipped()
    tiny = workloads.get("heavy_tiny")
    assert (tiny.name, tiny.parameter_count()) == ("heavy_tiny", 784 * 8 + 8 + 80 + 10)
    assert workloads.get("heavy").layers[0] == Dense(1024)
    assert workloads.foreign("heavy_tiny") is None
    for name in ("alone_tiny", "heavy_tiny_tiny", "_tiny"):
        with pytest.raises(BenchError, match=f"no workload '{name}'"):
            workloads.get(name)


def test_an_unknown_workload_is_an_error_with_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(BenchError, match=r"no workload 'mpl'; there are cnn, .*mlp, mlp_dropout.*did you mean 'mlp'"):
        workloads.get("mpl")


def test_paths_count_the_layers_of_one_kind() -> None:
    assert [place.path for place in CNN.placed()] == [
        *("conv2d_1", "relu_1", "maxpool_1", "conv2d_2", "relu_2", "maxpool_2"),
        *("flatten_1", "dense_1", "relu_3", "dense_2"),
    ]
    assert CNN.parameters() == {
        "conv2d_1.kernel": (3, 3, 1, 32),
        "conv2d_1.bias": (32,),
        "conv2d_2.kernel": (3, 3, 32, 64),
        "conv2d_2.bias": (64,),
        "dense_1.kernel": (3136, 128),
        "dense_1.bias": (128,),
        "dense_2.kernel": (128, 10),
        "dense_2.bias": (10,),
    }


def test_shapes_follow_one_another() -> None:
    for workload in (MLP, CNN, DROPOUT):
        places = workload.placed()
        assert places[0].enters == workload.input
        assert [place.leaves for place in places[:-1]] == [place.enters for place in places[1:]]


@pytest.mark.parametrize(
    "layers", [(Dense(9),), (), (Dense(10), ReLU(), Dense(11)), (Dense(10), Dense(10), Dense(1))], ids=str
)
def test_a_wrong_last_shape_is_an_error(layers: tuple[Dense | ReLU, ...]) -> None:
    with pytest.raises(BenchError, match=r"workload mlp ends in shape .*wanted \(10,\)"):
        replace(MLP, layers=layers).placed()


def test_an_image_in_place_of_logits_is_an_error() -> None:
    with pytest.raises(BenchError, match=r"ends in shape \(26, 26, 10\)"):
        replace(CNN, layers=(Conv2D(10),)).placed()


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "checksum", "first"),
    [
        (1, "699445ad8129bc1c", 0.08336958001744106),
        (2, "fc2ef82aac92b08c", -0.203477982524704),
    ],
)
def test_weights_are_these_very_bytes(seed: int, checksum: str, first: float) -> None:
    # A NumPy that drew another stream from the same seed would make every committed golden evidence wrong.
    weights = CNN.weights(seed)
    assert float(weights["conv2d_1.kernel"].ravel()[0]) == first
    text = b"".join(path.encode() + weights[path].astype("<f8").tobytes() for path in sorted(weights))
    assert hashlib.sha256(text).hexdigest()[:16] == checksum


def test_weights_are_fp64_and_uniform_within_one_over_root_fan_in() -> None:
    fan_in = {"conv2d_1": 9, "conv2d_2": 9 * 32, "dense_1": 3136, "dense_2": 128}
    for path, array in CNN.weights(1).items():
        bound = 1 / np.sqrt(fan_in[path.split(".")[0]])
        assert array.dtype == np.float64
        assert np.abs(array).max() <= bound
        if array.size > 1000:
            # uniform in +-b: mean 0, standard deviation b/sqrt(3); over six standard errors are allowed
            assert abs(array.mean()) < 6 * bound / np.sqrt(3 * array.size)
            assert abs(array.std() / (bound / np.sqrt(3)) - 1) < 3 / np.sqrt(array.size)


def test_weights_depend_on_the_seed_and_on_their_own_path_alone() -> None:
    one, again, two = MLP.weights(1), MLP.weights(1), MLP.weights(2)
    for path in one:
        np.testing.assert_array_equal(one[path], again[path])
        assert not np.array_equal(one[path], two[path])
    same_shape = replace(MLP, layers=(Dense(10), Dense(10), Dense(10)), input=(10,)).weights(1)
    assert not np.array_equal(same_shape["dense_1.kernel"], same_shape["dense_2.kernel"])


@pytest.mark.parametrize(
    "layers",
    [
        (Dense(128), ReLU(), ReLU(), Dense(10)),
        (ReLU(), Dense(128), Dense(10)),
        (Dense(128), Dropout(0.5), ReLU(), Dense(10)),
        (Dense(128), ReLU(), Dense(10), ReLU()),
    ],
    ids=str,
)
def test_a_layer_without_weights_moves_none(layers: tuple[Dense | ReLU | Dropout, ...]) -> None:
    for path, array in replace(MLP, layers=layers).weights(1).items():
        np.testing.assert_array_equal(array, MLP.weights(1)[path])


# --- batches ----------------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 40), size=st.integers(1, 25), count=st.integers(1, 8), seed=st.integers(0, 5))
def test_batches_use_the_whole_set_up_before_they_begin_again(n: int, size: int, count: int, seed: int) -> None:
    rows = np.arange(n)
    drawn = batches(rows, rows % 10, seed=seed, size=size, count=count)
    assert [len(images) for images, _ in drawn] == [size] * count
    stream = np.concatenate([images for images, _ in drawn])
    for start in range(0, len(stream), n):  # each pass over the set: every row once, the last pass perhaps cut short
        once = stream[start : start + n]
        assert len(set(once)) == len(once)
    for images, labels in drawn:
        np.testing.assert_array_equal(labels, images % 10)
        assert labels.dtype == np.int32


def test_batches_are_those_of_the_seed() -> None:
    rows = np.arange(1000)
    first, again, other = (batches(rows, rows, seed=s, size=8, count=4) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first[0][0].tolist() == [
        458,
        323,
        622,
        828,
        93,
        61,
        813,
        774,
    ]  # the stream of this seed, wherever it is drawn


def test_more_batches_begin_with_the_fewer() -> None:
    rows = np.arange(10)
    few, many = (batches(rows, rows, seed=1, size=4, count=count) for count in (2, 9))
    np.testing.assert_array_equal(few, many[:2])


def test_later_passes_are_in_another_order() -> None:
    rows = np.arange(100)
    first, second = batches(rows, rows, seed=1, size=100, count=2)
    assert not np.array_equal(first[0], second[0])


def test_images_become_floats_in_the_input_shape() -> None:
    images = np.arange(2 * 784, dtype=np.int64).astype(np.uint8).reshape(2, 28, 28)
    for workload in (MLP, CNN):
        shaped = workload.shape_samples(images)
        assert shaped.dtype == np.float32
        assert shaped.shape == (2, *workload.input)
        np.testing.assert_array_equal(shaped.reshape(2, 28, 28), images.astype(np.float32) / np.float32(255))
    assert workload.shape_samples(np.full((1, 28, 28), 255, np.uint8)).max() == 1.0


def test_tokens_stay_tokens() -> None:
    tokens = np.array([[0, 64, 255]], np.int64)
    shaped = workloads.get("gpt").shape_samples(tokens)
    assert shaped.dtype == np.int32
    assert shaped.tolist() == tokens.tolist()


# --- the digest -------------------------------------------------------------------------------------------------------

OTHER_WORK = {
    "input": replace(MLP, input=(783,)),
    "classes": replace(MLP, classes=11),
    "units": replace(MLP, layers=(Dense(129), ReLU(), Dense(10))),
    "another layer": replace(MLP, layers=(Dense(128), ReLU(), ReLU(), Dense(10))),
    "order": replace(MLP, layers=(ReLU(), Dense(128), Dense(10))),
    "a kind of the same numbers": replace(CNN, layers=(MaxPool(2), Flatten(), Dense(10))),
    "rate": replace(MLP, optimiser=SGD(rate=0.02)),
    "momentum": replace(MLP, optimiser=SGD(rate=0.01, momentum=0.9)),
    "optimiser": replace(MLP, optimiser=Adam(rate=0.01)),
    "b1": replace(MLP, optimiser=Adam(rate=0.01, b1=0.8)),
    "b2": replace(MLP, optimiser=Adam(rate=0.01, b2=0.9)),
    "epsilon": replace(MLP, optimiser=Adam(rate=0.01, epsilon=1e-7)),
    **{
        f"convolution {field}": replace(CNN, layers=(Conv2D(4, **{field: 2}), Flatten(), Dense(10)))
        for field in ("kernel", "stride", "padding")
    },
    "pool size": replace(CNN, layers=(MaxPool(3), Flatten(), Dense(10))),
    "pool stride": replace(CNN, layers=(MaxPool(2, 1), Flatten(), Dense(10))),
    "no bias": replace(MLP, layers=(Dense(128, bias=False), ReLU(), Dense(10))),
    "a convolution without bias": replace(CNN, layers=(Conv2D(4, bias=False), Flatten(), Dense(10))),
    "pool padding": replace(CNN, layers=(MaxPool(2, padding=1), Flatten(), Dense(10))),
    "tokens": replace(MLP, vocabulary=784),
    **{f"recipe {name}": MLP.by(name) for name in RECIPES if name not in ("plain", "augment")},
    "a body": replace(MLP, layers=(Residual((Dense(784), ReLU())), Dense(10))),
    "a shortcut of the same": replace(MLP, layers=(Residual((), (Dense(784), ReLU())), Dense(10))),
    "within a body": replace(MLP, layers=(Residual((Dense(784, bias=False), ReLU())), Dense(10))),
    "dropout": replace(MLP, layers=(Dense(128), Dropout(0.5), Dense(10))),
    "dropout rate": replace(MLP, layers=(Dense(128), Dropout(0.4), Dense(10))),
}


def test_every_field_that_matters_makes_another_digest() -> None:
    digests = {name: workload.digest for name, workload in {"mlp": MLP, "cnn": CNN, **OTHER_WORK}.items()}
    assert len(set(digests.values())) == len(digests), digests
    assert all(len(digest) == 16 for digest in digests.values())


@pytest.mark.parametrize(
    ("field", "value"), [("name", "x"), ("description", "x"), ("proof", Proof(2, 2)), ("epoch", 7)]
)
def test_what_is_no_part_of_the_work_does_not(field: str, value: object) -> None:
    assert replace(MLP, **{field: value}).digest == MLP.digest


def test_every_field_of_a_workload_is_accounted_for() -> None:
    # A new field has to be put into one of the two tests above.
    fields = {"name", "description", "input", "classes", "layers", "optimiser"}
    fields |= {"vocabulary", "recipe", "proof", "epoch"}
    assert set(Workload.__struct_fields__) == fields


@pytest.mark.parametrize(
    ("name", "digest"), [("mlp", "bdeccd128a78afbd"), ("cnn", "60b1d6cb12b1c2f5"), ("mlp_dropout", "14fb965122ca5512")]
)
def test_a_digest_outlives_new_fields(name: str, digest: str) -> None:
    # Stored runs carry these: a field that comes later, at the value that says what was meant before, moves none.
    assert workloads.get(name).digest == digest


def test_a_workload_survives_json() -> None:
    for workload in (MLP, CNN, DROPOUT):
        assert msgspec.json.decode(msgspec.json.encode(workload), type=Workload) == workload


# --- what is derived --------------------------------------------------------------------------------------------------


def test_deterministic_drops_the_dropout_and_keeps_the_paths() -> None:
    certain = DROPOUT.deterministic()
    assert not any(isinstance(layer, Dropout) for layer in certain.layers)
    kept = [place.path for place in DROPOUT.placed() if not isinstance(place.layer, Dropout)]
    assert [place.path for place in certain.placed()] == kept
    for path, array in DROPOUT.weights(1).items():
        np.testing.assert_array_equal(array, certain.weights(1)[path])
    assert certain.digest != DROPOUT.digest
    assert MLP.deterministic() == MLP


@pytest.mark.parametrize(
    ("workload", "seconds_first"),
    [(MLP, ["dense_1"]), (CNN, ["conv2d_1"]), (DROPOUT, ["dense_1"])],
    ids=["mlp", "cnn", "d"],
)
def test_only_up_to_the_first_layer_with_weights_nobody_wants_the_inputs_gradient(
    workload: Workload, seconds_first: list[str]
) -> None:
    assert [place.path for place, first in workload.placed_first() if first] == seconds_first


def test_layers_before_the_first_weights_are_first_too() -> None:
    workload = replace(CNN, layers=(ReLU(), MaxPool(2), Flatten(), Dense(10), ReLU()))
    assert [first for _, first in workload.placed_first()] == [True, True, True, True, False]


@pytest.mark.parametrize(
    ("phase", "batch", "item_size", "wanted"),
    [
        # (784 + 128) + (128 + 128) + (128 + 10) activations a sample, and 101 770 parameters, read once
        ("infer", 1, 4, 4 * (912 + 256 + 138 + 101_770)),
        ("infer", 64, 8, 8 * (64 * (912 + 256 + 138) + 101_770)),
        # backward: (2 x 784 + 128) + 3 x 128 + (2 x 128 + 10) a sample; parameters read, their gradients written
        ("train", 64, 4, 4 * (64 * (912 + 256 + 138 + 1696 + 384 + 266) + 3 * 101_770)),
    ],
)
def test_bytes_per_step(phase: str, batch: int, item_size: int, wanted: int) -> None:
    assert MLP.bytes_per_step(phase, batch, item_size) == wanted


def test_a_blocks_last_scales_begin_small_in_the_whole_resnet_alone() -> None:
    def scales(name: str) -> dict[str, float]:
        places = (place for place in workloads.get(name).walk() if isinstance(place.layer, BatchNorm))
        return {place.path: place.layer.initial(place.enters)["scale"][0] for place in places}

    whole = scales("resnet50")
    last = {path for path in whole if path.startswith("residual") and path.endswith("batchnorm_3")}
    assert len(last) == 16
    assert {path: scale for path, scale in whole.items() if scale != 1} == dict.fromkeys(last, 0.1)
    assert set(scales("resnet50_tiny").values()) == {1.0}
