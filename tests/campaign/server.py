"""Runs `toolkit` commands in forked children: libraries are imported once, and each child has limits.

`preload` imports everything; nothing in this process may start a thread before the children are forked. A child leads a
session of its own, so that its workers can be found and counted after it is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib
import os
import pkgutil
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaign import fixtures
from tests.campaign.fixtures import Fixtures

MEMORY = 4 << 30
"""Bytes that a child may use."""
SECONDS = 240.0
"""Wall seconds after which a child counts as hung; a loaded machine needs a wide margin."""
CPU_SECONDS = 90
ORPHAN_SECONDS = 30.0
"""Time that workers of a killed process have to end."""

_PAUSE = 0.02
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


def preload() -> None:
    """Import all that a command may need, and adopt the orphans of children."""
    for name in ("torch", "cv2", "av", "mediapipe", "diffusers", "transformers", "accelerate", "scipy.ndimage"):
        importlib.import_module(name)
    # diffusers and transformers import classes when they are first named.
    for module, names in {
        "diffusers": (
            *("ControlNetModel", "UNet2DConditionModel", "AutoencoderKL", "AutoencoderTiny", "MotionAdapter"),
            *("UNetMotionModel", "DDIMScheduler"),
        ),
        "transformers": ("CLIPTextModel", "CLIPTokenizer"),
    }.items():
        for name in names:
            getattr(sys.modules[module], name)
    for name in ("toolkit", "attributes", "tasks"):
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if "scaffold" not in found.name and not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    sys.modules["cv2"].setNumThreads(1)
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def prepare(output: Path) -> Fixtures:
    """Make the inputs in a child, because making them starts threads."""
    root = output / "fixtures"
    (output / "making").mkdir(exist_ok=True)
    ended = run(lambda: fixtures.make(root) and 0, output / "making")
    if ended.code:
        raise RuntimeError(f"the inputs cannot be made: {ended}")
    return Fixtures(root)


@dataclass
class Ended:
    """How a child ended.

    Attributes:
        code: exit code; negative for a signal.
        why: why the campaign ended it: "", "killed", "time" or "memory".
        orphans: processes of its session that outlived it.
    """

    code: int
    seconds: float
    cpu: float
    peak: int
    out: str
    err: str
    why: str = ""
    orphans: list[str] = field(default_factory=list)

    @property
    def traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.err

    def __str__(self) -> str:
        told = self.err[-4000 if self.why == "time" else -600 :]
        return f"exit {self.code} {self.why} after {self.seconds:.1f} s, {self.peak >> 20} MiB: {told}"


class Child:
    """A command in a forked process.

    Args:
        words: arguments of ``toolkit``, or a function without arguments.
        folder: working folder; its output goes to ``.NAME.log`` beside it.
        log: another name for that.
        environment: variables to set.
        before: called in the child first.
        forked_workers: let worker processes be forked, so that they need not import everything again.
    """

    def __init__(
        self,
        words: Sequence[str] | Callable[[], int],
        folder: Path,
        *,
        environment: dict[str, str] | None = None,
        before: Callable[[], None] | None = None,
        forked_workers: bool = True,
        cpu_seconds: int = CPU_SECONDS,
        log: str = "",
    ):
        self.log = folder.parent / f".{log or folder.name}.log"
        self.log.mkdir(exist_ok=True)
        self.started, self.ended, self.peak = time.monotonic(), False, 0
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            code = 70
            try:
                self._enter(folder, environment or {}, forked_workers, cpu_seconds)
                if before:
                    before()
                code = _run(words)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)

    def _enter(self, folder: Path, environment: dict[str, str], forked_workers: bool, cpu_seconds: int) -> None:
        os.setsid()
        for name, number, flags in (("stdin", 0, os.O_RDONLY), ("stdout", 1, os.O_WRONLY), ("stderr", 2, os.O_WRONLY)):
            path = "/dev/null" if name == "stdin" else str(self.log / f"{name}.txt")
            opened = os.open(path, flags if number == 0 else flags | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, closefd=False, errors="surrogateescape" if number == 0 else "backslashreplace")  # noqa: SIM115
            for number, mode in ((0, "r"), (1, "w"), (2, "w"))
        )
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.environ.update(environment)
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
        faulthandler.register(signal.SIGUSR1, file=sys.stderr)
        if forked_workers:
            fork_workers()

    def poll(self) -> bool:
        """Whether it has ended; its peak memory is kept."""
        if not self.ended:
            self.peak = max(self.peak, memory_of(self.pid))
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.ended, self.code = True, os.waitstatus_to_exitcode(status)
                self.cpu = usage.ru_utime + usage.ru_stime
                self.peak = max(self.peak, usage.ru_maxrss * 1024)
                self.seconds = time.monotonic() - self.started
        return self.ended

    def signal(self, number: int, everyone: bool = False) -> None:
        """Send a signal, to all processes of the session if `everyone`."""
        for pid in session(self.pid) if everyone else [self.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait(
        self, seconds: float = SECONDS, *, kill_after: float | None = None, kill: Callable[[Child], None] | None = None
    ) -> Ended:
        """Wait for the end; call `kill` once it has used `kill_after` CPU seconds, which hardly depend on load."""
        why = ""
        while not self.poll():
            age = time.monotonic() - self.started
            if kill is not None and kill_after is not None and sum(map(cpu_of, session(self.pid))) >= kill_after:
                kill(self)
                why, kill = "killed", None
            elif age > seconds:
                why = "time"
                self._dump()
                self.signal(signal.SIGKILL, everyone=True)
            elif sum(map(memory_of, session(self.pid))) > 2 * MEMORY or self.peak > MEMORY:
                why = "memory"
                self.signal(signal.SIGKILL, everyone=True)
            time.sleep(_PAUSE)
        if self.code == -signal.SIGXCPU:
            why = "time"
        orphans = self._orphans()
        texts = [(self.log / f"{name}.txt").read_text(errors="replace") for name in ("stdout", "stderr")]
        return Ended(self.code, self.seconds, self.cpu, self.peak, *texts, why=why, orphans=orphans)

    def _dump(self) -> None:
        """Leave a note of where it hangs: the kernel's word for it, and what each thread runs."""
        with (self.log / "stderr.txt").open("a") as file, contextlib.suppress(OSError):
            file.write("\nwaits in " + Path(f"/proc/{self.pid}/wchan").read_text() + "\n")
        self.signal(signal.SIGUSR1)
        time.sleep(1)

    def _orphans(self) -> list[str]:
        deadline = time.monotonic() + ORPHAN_SECONDS
        while (left := session(self.pid)) and time.monotonic() < deadline:
            _reap(left)
            time.sleep(_PAUSE)
        found = []
        for pid in left:
            with contextlib.suppress(OSError):
                found.append(Path(f"/proc/{pid}/stat").read_text()[:60])
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE if left else 0)
        _reap(left)
        return found


def _run(words: Sequence[str] | Callable[[], int]) -> int:
    if callable(words):
        return words()
    from toolkit.cli import main

    try:
        return main(list(words))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1


def run(words: Sequence[str] | Callable[[], int], folder: Path, **how) -> Ended:
    """Run a command to its end."""
    return Child(words, folder, **how).wait()


def memory_of(pid: int) -> int:
    """Resident bytes of a process; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def cpu_of(pid: int) -> float:
    """CPU seconds of a process."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def session(pid: int) -> list[int]:
    """Processes in the session that `pid` leads, itself included, that have not ended."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(words[3]) == pid and words[0] != "Z":
                found.append(int(entry))
    return sorted(found)


def _reap(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def fork_workers() -> None:
    """Fork worker processes that the toolkit would spawn.

    A forked worker holds copies of its siblings' pipes, which would hide the end from them, so it closes them first.
    """
    import multiprocessing

    context = multiprocessing.get_context("fork")
    ours: list = []

    class Forked(type(context)):  # type: ignore[misc]
        def Pipe(self, duplex: bool = True):
            pair = context.Pipe(duplex)
            ours.append(pair[0])
            return pair

        def Process(self, *, target, args, **more):
            def enter(*given):
                for connection in ours:
                    if not connection.closed:
                        connection.close()
                target(*given)

            return context.Process(target=enter, args=args, **more)

    real = multiprocessing.get_context
    multiprocessing.get_context = lambda method=None: Forked() if method == "spawn" else real(method)
