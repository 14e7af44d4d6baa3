"""From what a machine says of itself to the instance that it is: by its DMI name, else by its GPU, else not at all.

No network is asked. Where several instances have the device, none is picked: they are named.
"""

import re
from collections.abc import Iterable

from msgspec import Struct

from bench.machine import Machine
from bench.prices.rows import Price

MIB_PER_GIB = 1024
# A part of a device: MIG's `1g.18gb`, a virtual GPU's profile `A10-4Q`.
SLICE = re.compile(r"\bMIG\b|-\d+[ABCQ]\b")
# In this order: what is also a part of another name comes after it. Keys as in the book's column `accelerator`.
PATTERNS = (
    (r"\bGB200\b", "GB200"),
    (r"\bGH200\b", "GH200"),
    (r"\bB300\b", "B300"),
    (r"\bB200\b", "B200"),
    (r"\bH200[ -]?NVL\b", "H200NVL"),
    (r"\bH200\b", "H200"),
    (r"\bH100[ -]?NVL\b", "H100NVL"),
    (r"\bH100\b", "H100"),
    (r"\bA100\b", "A100"),
    (r"\bA10G\b", "A10G"),
    (r"\bA10\b", "A10"),
    (r"\bL40S\b", "L40S"),
    (r"\bL40\b", "L40"),
    (r"\bL4\b", "L4"),
    (r"\bT4\b", "T4"),
    (r"\bV100\b", "V100"),
    (r"\bRTX PRO 6000 BLACKWELL SERVER\b|\bRTXPRO6000\b", "RTXPRO6000"),
    (r"\bMI300X\b", "MI300X"),
    (r"\bTPU[ -]?V5 ?(LITE|E)\b", "TPU-v5e"),
    (r"\bTPU[ -]?V6 ?(LITE|E)\b", "TPU-v6e"),
)
# Sold in two sizes under one name. GB: what is printed; a driver reports somewhat less, in GiB.
SIZES = {"A100": (40, 80), "V100": (16, 32)}

TO_DO = 'say which instance it is: --instance NAME, or instance = "NAME" in prices.toml'
UNLISTED = "give --price-per-hour, or a [[price]] of your own and --instance"


class Detected(Struct, frozen=True):
    """The instance and who says so (`origin`), or "" and why not (`reason`), with those that it may be."""

    instance: str = ""
    origin: str = ""
    candidates: tuple[str, ...] = ()
    reason: str = ""


def accelerator_of(name: str, memory_mib: int) -> str:
    """The book's key for a device as its driver prints it, "" where it has none. Memory in MiB, 0 if not known."""
    upper = name.upper()
    if SLICE.search(upper):
        return ""
    key = next((key for pattern, key in PATTERNS if re.search(pattern, upper)), "")
    if key not in SIZES:
        return key
    said = re.search(r"\b(\d+) ?GB\b", upper)
    size = int(said[1]) if said else memory_mib / MIB_PER_GIB
    # Drivers keep up to a tenth for themselves; what is neither size is a part, or something new.
    return next((f"{key}-{gb}GB" for gb in SIZES[key] if 0.9 * gb <= size <= 1.05 * gb), "")


def is_slice(name: str) -> bool:
    """Whether it is a part of a device, which nobody sells by itself."""
    return SLICE.search(name.upper()) is not None


def detect(machine: Machine, book: Iterable[Price]) -> Detected:
    """Which instance of the book this machine is, if that is certain."""
    rows = tuple(book)
    if machine.instance and machine.instance in {row.instance for row in rows}:
        return Detected(machine.instance, f"the machine says it is {machine.instance} (DMI)")
    if not machine.gpus:
        return Detected(
            reason="the machine has no GPU and names no instance of the price book; say once what it is: "
            'instance = "NAME" in prices.toml, or --instance NAME, or --price-per-hour'
        )
    kinds = {accelerator_of(gpu.name, gpu.memory_mib): gpu.name for gpu in machine.gpus}
    (key, name), *others = kinds.items()
    if others:
        return Detected(reason=f"the machine has different devices, {', '.join(kinds.values())}; {TO_DO}")
    if is_slice(name):
        return Detected(reason=f"the device is a slice, {name}: nobody sells one by itself; give --price-per-hour")
    if not key:
        return Detected(reason=f"no price book lists the device {name}; {UNLISTED}")
    return _having(key, len(machine.gpus), rows)


def _having(key: str, count: int, rows: Iterable[Price]) -> Detected:
    listed = {row.instance: row.accelerator_count for row in rows if row.accelerator == key}
    # A container may show fewer devices than its instance has, never more.
    fitting = tuple(name for name, has in listed.items() if has is None or has >= count)
    what = f"the device is {_a(key)}" if count == 1 else f"the devices are {count} x {key}"
    match fitting:
        case (instance,):
            only = f"{what}, and {instance} is the only instance of the price book with "
            return Detected(instance, only + ("one" if count == 1 else "as many"), fitting)
        case ():
            found = f"; it lists {', '.join(listed)}, which have fewer" if listed else ""
            return Detected(reason=f"{what}, and no price book lists an instance with so many{found}; {UNLISTED}")
        case _:
            return Detected(
                candidates=fitting,
                reason=f"{what}, and {len(fitting)} instances have it: {', '.join(fitting)}; {TO_DO}",
            )


def _a(key: str) -> str:
    return f"an {key}" if key[0] in "AHLMR" else f"a {key}"
