"""The two optimisers as torch has them: its SGD and its Adam are exactly the algorithms that we state. And recipes."""

from collections.abc import Callable
from math import cos, pi
from typing import assert_never

import torch
from torch import Tensor, nn

from bench.errors import Unsupported
from bench.program import Settings
from bench.recipe import Recipe
from bench.workload import SGD, Adam, Optimiser


def optimiser(declared: Optimiser, model: nn.Module, settings: Settings, recipe: Recipe) -> torch.optim.Optimizer:
    """Of the model's trained parameters, in the fastest of torch's own implementations; with coupled decay, `l2`."""
    # torch refuses to optimise nothing; a model without parameters, a ceiling's say, is only run forward.
    parameters = [p for p in model.parameters() if p.requires_grad] or [nn.Parameter(torch.empty(0))]
    # One kernel a parameter: on two cores a third of the plain loop's time for Adam, 0.6 of it for momentum. On a CPU
    # plain SGD is one kernel a parameter in the loop too, and that one starts no threads for small ones.
    fused = settings.device == "gpu" or declared != SGD(declared.rate)
    coupled = 0.0 if recipe.decay else recipe.l2  # with both, `update` adds it, before the other shrinks the weights
    match declared:
        case SGD(rate, momentum):
            return torch.optim.SGD(
                parameters, lr=rate, momentum=momentum, weight_decay=coupled, fused=fused, foreach=False
            )
        case Adam(rate, b1, b2, epsilon):
            # Capturable: its count of steps is on the GPU, so that a captured step goes on counting.
            captured = settings.steps_per_call > 1
            kind, decay = (torch.optim.AdamW, recipe.decay) if recipe.decay else (torch.optim.Adam, coupled)
            return kind(parameters, rate, (b1, b2), epsilon, decay, fused=fused, foreach=False, capturable=captured)
        case _:
            assert_never(declared)


def update(
    declared: Optimiser, made: torch.optim.Optimizer, settings: Settings, recipe: Recipe
) -> Callable[[], object]:
    """A step of the optimiser with what a recipe puts around it; without any the optimiser's own."""
    if recipe.schedule and settings.steps_per_call > 1:
        raise Unsupported(
            "recipe schedule with several steps a call: a CUDA graph keeps the rate that it was made with"
        )
    (group,) = made.param_groups
    parameters: list[Tensor] = group["params"]
    by_hand = recipe.decay if isinstance(declared, SGD) else 0.0  # torch has AdamW and no SGDW
    coupled = recipe.l2 if recipe.decay else 0.0
    scheduler = None
    if steps := recipe.schedule:
        # torch's own cosine rises again after its end.
        scheduler = torch.optim.lr_scheduler.LambdaLR(made, lambda t: (1 + cos(pi * min(t, steps) / steps)) / 2)
    if not (recipe.clip or by_hand or coupled or scheduler):
        return made.step

    @torch.no_grad()
    def step() -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        if recipe.clip:
            # clip_grad_norm_ without the 1e-6 that it adds to the norm.
            norm = torch.nn.utils.get_total_norm(gradients)
            torch._foreach_mul_(gradients, torch.clamp(recipe.clip / norm, max=1.0))
        if coupled:
            torch._foreach_add_(gradients, parameters, alpha=coupled)
        if by_hand:
            torch._foreach_mul_(parameters, 1 - group["lr"] * by_hand)
        made.step()
        if scheduler:
            scheduler.step()

    return step
