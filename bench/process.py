"""One worker process as its parent sees it: a private pipe, a log, a deadline, and what its death means."""

import hashlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import TypeVar

import msgspec

from bench import datasets, messages
from bench.arms import HERE, Launch
from bench.errors import BenchError
from bench.messages import DISK, Answer, Close, Failed, Question

GRACE_SECONDS = 5.0
T = TypeVar("T")


class WorkerFailed(Exception):
    """A worker could not do what it was asked for; `failed` says why."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.reason)
        self.failed = failed


class Process:
    """A worker. While it works the parent sleeps in `poll`; nothing is ever asked twice."""

    def __init__(self, log: Path, launch: Launch = HERE) -> None:
        self.log = log
        down_read, down_write = os.pipe()
        up_read, up_write = os.pipe()
        self.killed_before = _kernel_kills()
        with open(log, "ab") as sink:
            self.process = subprocess.Popen(
                [launch.python, "-m", "bench.worker", str(down_read), str(up_write)],
                pass_fds=(down_read, up_write),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,  # Ctrl-C is the parent's to handle
                env=environment(launch),
            )
        os.close(down_read)
        os.close(up_write)
        self.down, self.up = down_write, up_read
        self.buffer = b""

    def ask(self, question: Question, until: float) -> Answer:
        """The worker's answer, or a `Failed` of the parent's own: `timeout`, `crashed` or `oom`.

        `until`: an instant of the monotonic clock. After a failure of the parent's own the process is gone.
        """
        self.send(question)
        return self.receive(until)

    def send(self, question: Question) -> None:
        """Puts a question into the pipe; the worker takes them in turn. A dead one is found out by `receive`."""
        try:
            os.write(self.down, messages.encode(question))
        except BrokenPipeError:
            pass

    def receive(self, until: float) -> Answer:
        """The answer to the oldest question that has none yet; see `ask`."""
        poll = select.poll()
        poll.register(self.up, select.POLLIN)
        while b"\n" not in self.buffer:
            # What is there already counts, however late it is looked for: somebody else may have been waited for.
            if not poll.poll(max(0.0, until - monotonic()) * 1000):
                self.kill()
                return Failed("timeout", "no answer within the deadline (--deadline): the process was killed")
            chunk = os.read(self.up, 1 << 16)
            if not chunk:
                return self._dead()
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\n", 1)
        try:
            answer: Answer = messages.decode_answer(line)
        except msgspec.DecodeError as error:
            self.kill()
            return Failed("error", f"the worker answered what this Stepwatch does not understand: {error}")
        return answer

    def expect(self, question: Question, wanted: type[T], until: float) -> T:
        """The answer if it is a `wanted` one; `WorkerFailed` otherwise."""
        self.send(question)
        return self.wait_for(wanted, until)

    def wait_for(self, wanted: type[T], until: float) -> T:
        """The next answer if it is a `wanted` one; `WorkerFailed` otherwise."""
        answer = self.receive(until)
        if isinstance(answer, Failed) and answer.status == DISK:
            raise BenchError(f"{answer.reason}; the records made so far are kept; free some space", exit_code=74)
        if isinstance(answer, Failed):
            raise WorkerFailed(answer)
        if not isinstance(answer, wanted):
            what = f"the worker answered {type(answer).__name__} where {wanted.__name__} was wanted"
            raise WorkerFailed(Failed("error", f"{what}; this is a defect of Stepwatch"))
        return answer

    def close(self) -> None:
        """Lets the worker end by itself, and ends it if it does not."""
        if self.process.poll() is None:
            self.ask(Close(), monotonic() + GRACE_SECONDS)
        self._reap(GRACE_SECONDS)
        self.kill()  # what it has started may outlive it, as Inductor's compilers do, and would stand beside the next

    def kill(self) -> None:
        """Ends the worker and everything it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended by itself meanwhile
        self._reap(GRACE_SECONDS)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def _reap(self, seconds: float) -> None:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(seconds)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass  # one that even SIGKILL does not end hangs in the kernel; it is left there
        for descriptor in (self.down, self.up):
            try:
                os.close(descriptor)
            except OSError:
                pass  # closed before
        self.down = self.up = -1

    def _dead(self) -> Failed:
        self._reap(GRACE_SECONDS)
        code = self.process.returncode
        if code is None:
            return Failed("crashed", "the process closed its pipe and could not be ended: it hangs in the kernel")
        if code < 0:
            if -code == signal.SIGKILL and _kernel_kills() > self.killed_before:
                return Failed("oom", "the kernel killed the process: the machine's memory was exhausted")
            return Failed("crashed", f"the process died of {signal.Signals(-code).name}{self._last_words()}")
        return Failed("crashed", f"the process ended with exit code {code} and gave no answer{self._last_words()}")

    def _last_words(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        text = "".join(c if c.isprintable() else " " for c in lines[-1]).strip()[:160] if lines else ""
        return f"; its last line: {text}" if text else ""


def environment(launch: Launch = HERE) -> dict[str, str]:
    """The parent's, and so that the worker finds the same `bench` wherever it was started, in whatever interpreter.

    Nothing is imported from the present folder (PYTHONSAFEPATH), and another interpreter is not given this one's
    PYTHONPATH: a worker's modules are those of its own interpreter.
    """
    package = str(Path(__file__).parent.parent if launch.python == sys.executable else _alone())
    path = os.environ.get("PYTHONPATH") if launch.python == sys.executable else None
    own = {"PYTHONPATH": f"{package}{os.pathsep}{path}" if path else package, "PYTHONUNBUFFERED": "1"}
    own["PYTHONSAFEPATH"] = "1"
    return os.environ | own | launch.environment


def _alone() -> Path:
    """A folder with `bench` alone: that of an installed one holds this interpreter's packages too."""
    package = Path(__file__).parent
    folder = datasets.cache_folder() / "harness" / hashlib.sha256(os.fsencode(package)).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "bench").exists():
        draft = folder / f".{os.getpid()}"
        draft.symlink_to(package)
        draft.replace(folder / "bench")
    return folder


def _kernel_kills() -> int:
    """How many processes the kernel has killed for want of memory since it started; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
