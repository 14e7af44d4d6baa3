"""Another revision of the user's repository, checked out beside it for as long as a gate takes."""

import hashlib
import os
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
    inside = ("-C", str(top()))
    # As bytes: a file's text, and a file's name, may be in any encoding.
    changed, _ = _said(*inside, "diff", "--binary", "--no-ext-diff", "--no-textconv", "HEAD")
    listed, _ = _said(*inside, "ls-files", "-z", "--others", "--exclude-standard", "*.py")
    others = [name for name in (listed or b"").split(b"\0") if name]
    digest = hashlib.sha256(changed or b"")
    for name in others:
        path = top() / os.fsdecode(name)
        digest.update(name + (path.read_bytes() if path.is_file() else b""))
    return f"{named}-{digest.hexdigest()[:7]}" if changed or others else named


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
    found, why = _said("rev-parse", "--show-toplevel")
    if found is None:
        raise BenchError(f"--base-ref wants a git repository around the present folder, found none: {why}")
    return Path(os.fsdecode(found.removesuffix(b"\n"))).resolve()


def check_out(commit: str, folder: Path) -> Path:
    """A worktree of the commit at `folder`; the folder in it that corresponds to the present one."""
    inside = Path.cwd().resolve().relative_to(top())
    remove(folder)  # what a gate that was killed has left
    _git("worktree", "prune")
    if folder.exists():
        raise BenchError(f"--base-ref {commit} is to be checked out into {folder}, which is there: remove it")
    made, why = _said("worktree", "add", "--detach", "--force", str(folder.absolute()), commit)
    if made is None:
        raise BenchError(f"--base-ref {commit} cannot be checked out into {folder}: {why}")
    return folder.absolute() / inside


def remove(folder: Path) -> None:
    """The worktree is gone, and git no longer knows of it."""
    _git("worktree", "remove", "--force", str(folder.absolute()))


def _git(*words: str) -> str | None:
    """What git says in a line; None where it fails."""
    found, _ = _said(*words)
    return None if found is None else os.fsdecode(found).strip()


def _said(*words: str) -> tuple[bytes | None, str]:
    """What git says, None where it fails, and in a line why it does; `BenchError` where there is no git."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, env=os.environ | {"LC_ALL": "C"})
    except FileNotFoundError:
        raise BenchError("--base-ref wants git, found none; install it") from None
    if done.returncode == 0:
        return done.stdout, ""
    lines = done.stderr.decode(errors="replace").strip().splitlines() or ["git did not say why"]
    return None, next((line for line in lines if line.startswith("fatal: ")), lines[-1])
