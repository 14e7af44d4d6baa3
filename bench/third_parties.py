"""What other packages offer by entry points: found without importing any of it, imported when its name is asked for.

It knows no framework's workings and nothing of workloads, backends and formats: each registry says which names are
taken and what it wants. Looking takes milliseconds, which nobody pays who names only what is Stepwatch's own.
"""

import hashlib
import re
import sys
from collections.abc import Callable, Collection, Iterator
from functools import cache, cached_property
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

from msgspec import Struct

from bench.errors import BenchError

T = TypeVar("T")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")  # it becomes a part of file names, and of an option on a command line
# Nobody imports these in the parent, nor in a worker before its adapter has said how.
FRAMEWORKS = ("torch", "tensorflow", "jax", "jaxlib", "flax", "optax", "keras")


class Offer(Struct, frozen=True):
    """One entry point, as its distribution declares it."""

    kind: str
    name: str
    entry: str
    distribution: str
    version: str

    @property
    def source(self) -> str:
        return f"{self.distribution} {self.version}"

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}' of {self.source}"


class Offers(Generic[T]):
    """One kind of things. `check` makes of what was imported what the registry holds, or says why it is none.

    `packages`: what a thing needs in a worker, and must not be imported before.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        *,
        taken: Callable[[], Collection[str]],
        check: Callable[[Offer, Any], T],
        packages: Callable[[T], Collection[str]] = lambda thing: (),
    ) -> None:
        self.kind, self.group, self.taken, self.check, self.packages = kind, group, taken, check, packages
        self.made: dict[str, T | str] = {}  # or why it is refused, once and for all: a second import would say less

    @cached_property
    def found(self) -> dict[str, tuple[Offer, ...]]:
        """Everything that is offered, by name; nothing of it is imported."""
        found: dict[str, tuple[Offer, ...]] = {}
        for entry in sorted(entry_points(group=self.group), key=lambda entry: (entry.name, str(entry.value))):
            distribution, version = (entry.dist.name, entry.dist.version) if entry.dist else ("an unknown package", "")
            offer = Offer(self.kind, entry.name, entry.value, distribution, version)
            found[entry.name] = (*found.get(entry.name, ()), offer)
        return found

    def names(self) -> list[str]:
        """Those that may be asked for; why one of them is refused is said when it is."""
        return sorted(self.found.keys() - set(self.taken()))

    def get(self, name: str) -> T | None:
        """What is offered under the name, None where nobody offers it; a `BenchError` of one line where it is refused.

        The registry has looked among its own first: a name that is taken is never another package's.
        """
        if name not in self.found:
            return None
        if name not in self.made:
            try:
                self.made[name] = self._made(self.found[name])
            except BenchError as error:
                self.made[name] = str(error)
        thing = self.made[name]
        if isinstance(thing, str):
            raise BenchError(thing)
        return thing

    def every(self) -> Iterator[tuple[Offer, T | str]]:
        """Every offer with what it is, or with why it is refused."""
        taken = set(self.taken())
        for name, offers in sorted(self.found.items()):
            for offer in offers:
                if name in taken:
                    yield offer, f"{offer}: stepwatch has that name itself and keeps it; uninstall {offer.distribution}"
                    continue
                try:
                    thing = self.get(name)
                    assert thing is not None
                    yield offer, thing
                except BenchError as error:
                    yield offer, str(error)

    def source(self, name: str) -> dict[str, str]:
        """The distribution that offers the name, and its version."""
        return {offer.distribution: offer.version for offer in self.found.get(name, ())}

    def _made(self, offers: tuple[Offer, ...]) -> T:
        offer, *others = offers
        if others:
            sources = " and ".join(one.source for one in offers)
            raise BenchError(f"{self.kind} '{offer.name}' is offered by {sources}; uninstall one of them")
        if not NAME.fullmatch(offer.name):
            raise BenchError(f"{offer}: a name wants a letter, then letters, digits, - and _, 64 at most")
        before = set(sys.modules)
        try:
            thing = self.check(offer, EntryPoint(offer.name, offer.entry, self.group).load())
        except BenchError as error:
            raise BenchError(f"{offer}: {error}") from None
        except (Exception, SystemExit) as error:  # an import may do anything
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise BenchError(
                f"{offer} cannot be imported: {said[:300]} (entry point {offer.entry}); "
                f"repair or uninstall {offer.distribution}"
            ) from error
        early = sorted({*FRAMEWORKS, *self.packages(thing)} & (set(sys.modules) - before))
        if early:
            raise BenchError(
                f"{offer}: importing {offer.entry} imports {' and '.join(early)}, which only a worker may, after its "
                "adapter's before_import; keep the entry point in a package that imports none of them"
            )
        return thing


def kind_of(thing: object) -> str:
    """What was found in place of what was wanted, for a message."""
    return f"the class {thing.__name__}" if isinstance(thing, type) else f"a {type(thing).__name__}"


def files(module: str) -> list[Path]:
    """All that Python may import of the package that a module is or lies in; of one that lies in none, its own file.

    `BenchError` where there is none of that name. The packages around it are imported, the module itself is not.
    """
    spec = find_spec(module)
    if spec is None:
        raise BenchError(f"its adapter {module} is no module that can be found")
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    if not folders and spec.origin and "." in module:
        folders = [Path(spec.origin).parent]
    if not folders:
        return [Path(spec.origin or "")]
    suffixes = (*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES)
    return sorted(file for folder in folders for file in folder.rglob("*") if file.name.endswith(suffixes))


@cache
def digest(module: str) -> str:
    """Of those files, as they were when this process first asked."""
    found = hashlib.sha256()
    for file in files(module):
        found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:12]
