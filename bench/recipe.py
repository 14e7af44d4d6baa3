"""Recipes: what is added to a plain step, by name. Each is an option of every workload, with its own proof and row."""

from msgspec import Struct

SCHEDULED = 1000  # steps of the schedule


class Recipe(Struct, frozen=True):
    """Everything is off at its default. `rate` below is the optimiser's.

    `l1`: the loss is greater by `l1` times the sum of all |w|. `l2`: the optimiser is given `gradient + l2 w`, coupled.
    `decay`: `w <- w - rate decay w` besides the optimiser's step (Loshchilov & Hutter 2019). `clip`: gradients are
    multiplied by `min(1, clip / their global norm)` first (PyTorch alone adds 1e-6 to the norm; here nobody does).
    `smoothing`: of a label's share, so much is spread evenly over all classes, its own too (Szegedy et al. 2016).
    `schedule`: the rate falls to 0 along half a cosine in so many steps; the first step has the whole rate.
    `augment`: in training each image is flipped, moved and turned as `bench.augmentation` decides.
    """

    l1: float = 0.0
    l2: float = 0.0
    decay: float = 0.0
    clip: float = 0.0
    smoothing: float = 0.0
    schedule: int = 0
    augment: bool = False


DROPPED = 0.5  # the recipe `dropout` drops so much before the last Dense
RECIPES = {
    "plain": Recipe(),
    "l1": Recipe(l1=1e-5),
    "l2": Recipe(l2=1e-4),
    "decay": Recipe(decay=1e-2),
    "dropout": Recipe(),  # a layer more
    "clip": Recipe(clip=0.5),
    "smoothing": Recipe(smoothing=0.1),
    "schedule": Recipe(schedule=SCHEDULED),
    "augment": Recipe(augment=True),
}
