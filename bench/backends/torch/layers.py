"""Each word of the vocabulary as torch's own module, and where its parameters lie."""

from typing import assert_never

from torch import Tensor, nn

from bench.layers import Conv2D, Dense, Dropout, Flatten, MaxPool, ReLU, Shape
from bench.placement import Placement
from bench.workload import Workload


class FlattenChannelsLast(nn.Module):
    """Flatten of a channels-last image, in its own order: a view, where nn.Flatten would copy to channels-first."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


def modules(workload: Workload, layout: str) -> tuple[nn.Sequential, dict[str, tuple[str, Placement]]]:
    """The model, and for each parameter path torch's name for it and its placement."""
    built: list[nn.Module] = []
    names: dict[str, tuple[str, Placement]] = {}
    image: Shape = ()  # what a Flatten has just flattened
    for index, place in enumerate(workload.placed()):
        match place.layer:
            case Dense(units):
                built.append(nn.Linear(place.enters[0], units))
                names[f"{place.path}.kernel"] = (f"{index}.weight", _dense(place.enters[0], units, image, layout))
                names[f"{place.path}.bias"] = (f"{index}.bias", Placement("o->o", (units,), (units,)))
                image = ()
            case Conv2D(filters, kernel, stride, padding):
                built.append(nn.Conv2d(place.enters[2], filters, kernel, stride, padding))
                ours, theirs = (kernel, kernel, place.enters[2], filters), (filters, place.enters[2], kernel, kernel)
                names[f"{place.path}.kernel"] = (f"{index}.weight", Placement("hwio->oihw", ours, theirs))
                names[f"{place.path}.bias"] = (f"{index}.bias", Placement("o->o", (filters,), (filters,)))
            case MaxPool(size, stride):
                built.append(nn.MaxPool2d(size, stride))
            case Flatten():
                built.append(FlattenChannelsLast() if layout == "nhwc" else nn.Flatten())
                image = place.enters
            case ReLU():
                built.append(nn.ReLU())
            case Dropout(rate):
                built.append(nn.Dropout(rate))
            case _:
                assert_never(place.layer)
    return nn.Sequential(*built), names


def _dense(inputs: int, units: int, image: Shape, layout: str) -> Placement:
    if image and layout == "nchw":
        # The flattened image arrives channels-first: turn the kernel once, here, instead of the image at every step.
        return Placement("hwco->ochw", (*image, units), (units, inputs))
    return Placement("io->oi", (inputs, units), (units, inputs))
