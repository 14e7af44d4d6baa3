"""Each word of the vocabulary as Flax's own module, and where its parameters lie."""

from collections.abc import Callable
from typing import Any, assert_never

from flax import nnx

from bench.layers import Conv2D, Dense, Dropout, Flatten, MaxPool, ReLU
from bench.workload import Workload


def modules(workload: Workload, dtype: Any) -> tuple[nnx.Sequential, dict[str, tuple[Any, ...]]]:
    """The abstract model (shapes, no arrays), and for each parameter path Flax's own path.

    Flax and we both keep images channels-last, so that nothing is turned.
    """
    paths: dict[str, tuple[Any, ...]] = {}
    for index, place in enumerate(workload.placed()):
        paths |= {f"{place.path}.{name}": ("layers", index, name) for name in place.layer.params(place.enters)}
    return nnx.eval_shape(lambda: _sequential(workload, dtype)), paths


def _sequential(workload: Workload, dtype: Any) -> nnx.Sequential:
    built: list[Callable[..., Any]] = []
    kinds = {"dtype": dtype, "param_dtype": dtype, "rngs": nnx.Rngs(0)}
    for place in workload.placed():
        match place.layer:
            case Dense(units):
                built.append(nnx.Linear(place.enters[0], units, **kinds))
            case Conv2D(filters, kernel, stride, padding):
                window, pads = (kernel, kernel), ((padding, padding), (padding, padding))
                built.append(nnx.Conv(place.enters[2], filters, window, strides=stride, padding=pads, **kinds))
            case MaxPool(size, stride):
                built.append(MaxPooling((size, size), (stride, stride)))
            case Flatten():
                built.append(flatten)
            case ReLU():
                built.append(nnx.relu)
            case Dropout(rate):
                built.append(nnx.Dropout(rate))
            case _:
                assert_never(place.layer)
    return nnx.Sequential(*built)


class MaxPooling(nnx.Module):
    """nnx.max_pool with its window, as a module."""

    def __init__(self, window: tuple[int, int], strides: tuple[int, int]) -> None:
        self.window, self.strides = window, strides

    def __call__(self, x: Any) -> Any:
        return nnx.max_pool(x, self.window, self.strides, "VALID")


def flatten(x: Any) -> Any:
    return x.reshape(x.shape[0], -1)
