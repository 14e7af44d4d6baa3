"""Another revision of the user's repository, checked out beside it for as long as a gate takes."""

import hashlib
import subprocess
from pathlib import Path

from bench.errors import BenchError


def commit_of(revision: str) -> str:
    """The short name of a revision's commit; `BenchError` where there is no such revision, or no repository."""
    named = _git("rev-parse", "--verify", "--quiet", "--short", f"{revision}^{{commit}}")
    if named is None:
        raise BenchError(
            f"--base-ref {revision}: there is no such revision here; 'git log --oneline' names those there are"
        )
    return named


def present() -> str:
    """The commit that is checked out here; where files differ from it, or sources are not in it, with their digest."""
    named = _git("describe", "--always", "--dirty", "--exclude=*") or "unknown"
    folder = str(top())
    changed = (_git("-C", folder, "diff", "--binary", "HEAD") or "").encode()
    for name in (_git("-C", folder, "ls-files", "--others", "--exclude-standard", "*.py") or "").splitlines():
        path = Path(folder, name)
        changed += name.encode() + (path.read_bytes() if path.is_file() else b"")
    return f"{named}-{hashlib.sha256(changed).hexdigest()[:7]}" if changed else named


def same(commit: str) -> bool:
    """Whether the files here are the commit's. Those that git does not track do not count: no commit holds them."""
    return _git("-C", str(top()), "diff", "--quiet", "--no-ext-diff", commit, "--") is not None


def check_holds(commit: str, path: str) -> None:
    """`BenchError` where the commit lacks the file at `path`, from the present folder."""
    inside = Path(path).resolve().relative_to(top()).as_posix()
    if _git("cat-file", "-e", f"{commit}:{inside}") is None:
        raise BenchError(f"revision {commit} does not hold {path}: nothing to compare with")


def top() -> Path:
    """The folder of the repository around the present one; `BenchError` where there is none."""
    found = _git("rev-parse", "--show-toplevel")
    if found is None:
        raise BenchError("--base-ref wants a git repository around the present folder, found none")
    return Path(found).resolve()


def check_out(commit: str, folder: Path) -> Path:
    """A worktree of the commit at `folder`; the folder in it that corresponds to the present one."""
    inside = Path.cwd().resolve().relative_to(top())
    remove(folder)  # what a gate that was killed has left
    _git("worktree", "prune")
    if folder.exists() or _git("worktree", "add", "--detach", "--force", str(folder.absolute()), commit) is None:
        raise BenchError(f"--base-ref {commit} cannot be checked out into {folder}; remove that folder if it is there")
    return folder.absolute() / inside


def remove(folder: Path) -> None:
    """The worktree is gone, and git no longer knows of it."""
    _git("worktree", "remove", "--force", str(folder.absolute()))


def _git(*words: str) -> str | None:
    """What git says; None where it fails or is not there."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True)
    except FileNotFoundError:
        raise BenchError("--base-ref wants git, found none; install it") from None
    return done.stdout.strip() if done.returncode == 0 else None
