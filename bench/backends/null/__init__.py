"""The null backend: every call returns at once. What remains of a step is the clock's own cost."""

from bench.no_model import WithoutModel
from bench.program import Facts, Settings
from bench.workload import Workload


def before_import(settings: Settings) -> None:
    """There is nothing to import."""


def after_import(settings: Settings) -> Facts:
    return Facts(threads=settings.threads, device_name="cpu")


def build(workload: Workload, settings: Settings) -> WithoutModel:
    return WithoutModel(workload)
