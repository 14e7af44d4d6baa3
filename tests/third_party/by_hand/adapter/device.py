"""Threads and denormals: what Stepwatch asks of every backend, and NumPy leaves to who uses it.

NumPy's BLAS keeps to one thread, and its rows are shared among threads of our own: these sleep when there is nothing to
do, and flush denormals as all backends do. BLAS's own were there before anybody could have told them to.
"""

import ctypes
import platform
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from threading import Barrier, get_ident

import numpy as np

from bench.errors import Unsupported
from bench.program import Facts, Settings

# Of C's floating-point environment: which of its 32-bit words holds the flags, and those that flush denormals.
FLAGS = {"x86_64": (7, 0x8040), "aarch64": (0, 1 << 24)}
pools: list[ThreadPoolExecutor] = []


def before_import(settings: Settings) -> None:
    """NumPy is here already."""


def after_import(settings: Settings) -> Facts:
    from threadpoolctl import threadpool_limits

    if platform.machine() not in FLAGS:
        raise Unsupported(f"by-hand cannot flush denormals on {platform.machine()}")
    threadpool_limits(limits=1)
    pools[:] = [ThreadPoolExecutor(settings.threads, initializer=flush_denormals)]
    together = Barrier(settings.threads)  # which none passes alone, so that each of them is there
    seen = pools[0].map(lambda _: (together.wait(timeout=10), get_ident())[1], range(settings.threads))
    return Facts(threads=len(set(seen)), device_name="cpu")


def flush_denormals() -> None:
    """In the calling thread."""
    word, flags = FLAGS[platform.machine()]
    library, environment = ctypes.CDLL(None), (ctypes.c_uint32 * 64)()  # more than any machine's needs
    library.fegetenv(environment)
    environment[word] |= flags
    library.fesetenv(environment)


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`a @ b`, the rows of `a` shared among the threads."""
    pool = pools[0]
    parts = np.array_split(a, pool._max_workers)
    return np.concatenate(list(pool.map(np.matmul, parts, repeat(b))))
