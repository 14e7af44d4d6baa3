"""Each word of the vocabulary as Keras's own layer, and where its parameters lie."""

from typing import Any, assert_never

import keras

from bench.layers import Conv2D, Dense, Dropout, Flatten, MaxPool, ReLU
from bench.workload import Workload


def layers(workload: Workload, layout: str, seed: int) -> tuple[list[Any], dict[str, tuple[int, str]]]:
    """The layers, and for each parameter path the place of its layer and Keras's name for it.

    Keras keeps kernels as we do, and its Flatten reads channels last in both layouts: nothing is turned.
    """
    order = {"data_format": "channels_first" if layout == "nchw" else "channels_last"}
    built: list[Any] = []
    names: dict[str, tuple[int, str]] = {}
    for place in workload.placed():
        match place.layer:
            case Dense(units):
                built.append(keras.layers.Dense(units))
            case Conv2D(filters, kernel, stride, padding):
                same = stride == 1 and kernel == 2 * padding + 1
                if padding and not same:
                    built.append(keras.layers.ZeroPadding2D(padding, **order))
                word = "same" if padding and same else "valid"
                built.append(keras.layers.Conv2D(filters, kernel, stride, word, **order))
            case MaxPool(size, stride):
                built.append(keras.layers.MaxPooling2D(size, stride, "valid", **order))
            case Flatten():
                built.append(keras.layers.Flatten(**order))
            case ReLU():
                built.append(keras.layers.ReLU())
            case Dropout(rate):
                built.append(keras.layers.Dropout(rate, seed=seed))
            case _:
                assert_never(place.layer)
        names |= {f"{place.path}.{name}": (len(built) - 1, name) for name in place.layer.params(place.enters)}
    return built, names
