"""Where a program's modules come from, so that two revisions are not the same files measured twice."""

import json
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse


def stranger(root: Path, elsewhere: Path) -> str:
    """The first module that is the other revision's, or serves both, in words; empty where there is none.

    `root`: the folder of this revision that the program started from; `elsewhere`: the other revision's checkout, which
    may lie inside this one's, or around it.
    """
    own, other = repository(root.resolve()), elsewhere.resolve()
    inner = other.is_relative_to(own)
    installed = [Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()]
    files = {name: Path(f).resolve() for name, m in list(sys.modules.items()) if (f := getattr(m, "__file__", ""))}
    for name, file in sorted(files.items()):
        if (
            name.partition(".")[0] == "bench"
            or "site-packages" in file.parts
            or any(map(file.is_relative_to, installed))
        ):
            continue
        if file.is_relative_to(other) and (inner or not file.is_relative_to(own)):
            return (
                f"{name} from the other revision's checkout ({other}); keep what it imports beside it or under the "
                "present folder, and do not install the checkout in editable form"
            )
    loaded = {name.partition(".")[0] for name, file in files.items() if "site-packages" in file.parts} - {"bench"}
    for name, folder in _built(own, other):
        if name in loaded:
            return (
                f"{name}, which is installed from {folder}: both revisions would run the same build; uninstall it, and "
                "keep its sources where the program finds them in either revision"
            )
    return ""


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
