"""Where a program's modules come from, so that two revisions are not the same files measured twice."""

import ast
import json
import site
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse

PACKAGE = Path(__file__).resolve().parent  # Stepwatch itself
LIBRARIES = ("stdlib", "platstdlib", "purelib", "platlib")  # of the interpreter, which both revisions share


def stranger(root: Path, elsewhere: Path) -> str:
    """The first module that is the other revision's, or serves both, in words; empty where there is none.

    `root`: the folder of this revision that the program started from; `elsewhere`: the other revision's checkout, which
    may lie inside this one's, or around it.
    """
    own, other = repository(root.resolve()), elsewhere.resolve()
    inner = other.is_relative_to(own)
    shared = libraries()
    files = {name: Path(f).resolve() for name, m in list(sys.modules.items()) if (f := getattr(m, "__file__", ""))}
    files = {name: file for name, file in sorted(files.items()) if not file.is_relative_to(PACKAGE)}
    installed = set()
    for name, file in files.items():
        if any(map(file.is_relative_to, shared)):
            installed.add(name.partition(".")[0])
        elif file.is_relative_to(other) and (inner or not file.is_relative_to(own)):
            return (
                f"{name} from the other revision's checkout ({other}); keep what it imports beside it or under the "
                "present folder, and do not install the checkout in editable form"
            )
    for name, folder in _built(own, other):
        if name in installed:
            return (
                f"{name}, which is installed from {folder}: both revisions would run the same build; uninstall it, and "
                "keep its sources where the program finds them in either revision"
            )
    return ""


def libraries() -> list[Path]:
    """The folders of the interpreter's own modules and of what is installed for it; not all that its prefix holds."""
    found = [*(sysconfig.get_path(name) for name in LIBRARIES), *site.getsitepackages(), site.getusersitepackages()]
    return [Path(folder).resolve() for folder in found]


def taken(file: Path, root: str, error: BaseException | None = None) -> str:
    """Why the program cannot have the `bench` of its own that it imports; empty where it has or imports none.

    Its own modules are not read: that one of them wants it is known by the `error` that it ended with.
    """
    if isinstance(error, ImportError):
        wanted = (error.name or "").partition(".")[0] == "bench"
    else:
        wanted = error is None and _imports_bench(file)
    folders = [file.resolve().parent, *([Path(root).resolve()] if root else [])] if wanted else []
    mine = next((found for folder in folders if (found := _bench_in(folder))), None)
    return (
        f"{file} imports {mine}, but in a worker 'bench' is Stepwatch itself; give yours another name" if mine else ""
    )


def _bench_in(folder: Path) -> Path | None:
    """The module or package of that name in a folder, unless it is Stepwatch."""
    for found in (folder / "bench.py", folder / "bench"):
        if found.is_file() or (found.is_dir() and found.resolve() != PACKAGE and any(found.rglob("*.py"))):
            return found
    return None


def _imports_bench(file: Path) -> bool:
    """Whether the file itself says so; False where it is no Python, which its import will tell."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):
        return False
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return any(name.partition(".")[0] == "bench" for name in names)


def repository(folder: Path) -> Path:
    """The top of the checkout around a folder; the folder itself where there is none."""
    return next((one for one in (folder, *folder.parents) if (one / ".git").exists()), folder)


def _built(*checkouts: Path) -> Iterator[tuple[str, Path]]:
    """The top-level modules of distributions that were built from one of these folders, and from which."""
    for distribution in metadata.distributions():
        text = distribution.read_text("direct_url.json")
        url = urlparse(json.loads(text)["url"]) if text else None
        if url is None or url.scheme != "file":
            continue
        folder = Path(unquote(url.path)).resolve()
        if any(folder.is_relative_to(checkout) for checkout in checkouts):
            tops = {Path(str(file)).parts[0].removesuffix(".py") for file in distribution.files or ()}
            yield from ((name, folder) for name in sorted(tops))
