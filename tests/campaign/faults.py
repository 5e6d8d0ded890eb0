"""Faults of the machine: full disks, vanished folders, killed workers, odd clocks, missing limits and places.

Each fault ends with the right result, or with one sentence after which the same command, repeated without the fault,
ends with the right result.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.campaign import server
from tests.campaign.fixtures import Fixtures, tree
from tests.campaign.kills import commands
from tests.campaign.mutations import judge
from toolkit.files import remove

WRITES = ("open", "os.rename", "os.mkdir", "os.link", "os.truncate")
MOST_WRITES = 200
"""Trials of `Fault.each_write` at most; of a command with more writes, as many at equal distances."""


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        before: called in the child; takes the number of the trial.
        verbs: commands to try it on.
        repeats: trials, each at another moment; 0 for as many as the campaign asks for.
        each_write: a system error with which each write of the command fails in a trial of its own, and all after it.
        during: called in the parent while the child runs.
        prepare: called in the parent before the run, with its folder.
        repair: called in the parent after it.
        right: the run itself must end well.
    """

    before: Callable[[random.Random], None] = lambda rng: None
    verbs: tuple[str, ...] = ("edit",)
    repeats: int = 1
    each_write: int | None = None
    during: Callable[[server.Child, Path, random.Random], None] | None = None
    prepare: Callable[[Path, random.Random], None] | None = None
    repair: Callable[[Path], None] | None = None
    right: bool = False


def fail_at(number: int, code: int) -> None:
    """Make the file operation of that number, and all that write after it, fail with a system error."""
    left = number

    def fail(path: str) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            raise OSError(code, os.strerror(code), path)

    at_writes(fail)


def at_writes(call: Callable[[str], None]) -> None:
    """Call a function with the path of each file operation of this process that writes."""
    owner = os.getpid()  # a forked worker inherits the hook

    def hook(event: str, args: tuple) -> None:
        if os.getpid() != owner or event not in WRITES:
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            return
        if event == "open" and str(args[0]).startswith(("/dev", "/proc")):
            return
        call(str(args[0]))

    sys.addaudithook(hook)


def size_limit(rng: random.Random) -> None:
    """Let no file grow beyond a size, as a full disk or a quota does in the middle of a write."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (rng.choice((3_000, 10_000, 30_000, 60_000, 100_000)),) * 2)


def file_limit(rng: random.Random) -> None:
    """Allow 64 open files."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def odd_clock(rng: random.Random) -> None:
    """A wall clock that jumps to and fro, as a correction of the time does."""
    real = time.time
    time.time = lambda: real() + rng.choice((-86_400 * 400, 0, 3600, 10**9))


def without(*names: str) -> Callable[[random.Random], None]:
    """Remove variables from the environment."""

    def remove(rng: random.Random) -> None:
        for name in names:
            os.environ.pop(name, None)

    return remove


def no_locale(rng: random.Random) -> None:
    """The plain C locale."""
    for name in ("LANG", "LC_ALL", "LC_CTYPE", "PYTHONUTF8", "PYTHONIOENCODING"):
        os.environ.pop(name, None)
    os.environ["LC_ALL"] = "C"
    sys.stdout.reconfigure(encoding="ascii", errors="strict")
    sys.stderr.reconfigure(encoding="ascii", errors="backslashreplace")


def no_shared_memory(rng: random.Random) -> None:
    """What multiprocessing's locks and shared memory need does not exist, as in some containers."""
    import _multiprocessing

    def refuse(*args, **more):
        raise OSError(errno.ENOSYS, "Function not implemented")

    _multiprocessing.SemLock = refuse
    import multiprocessing.synchronize

    multiprocessing.synchronize._multiprocessing.SemLock = refuse


def slow_disk(rng: random.Random) -> None:
    """Renames and flushes take long, as on a network folder."""
    for name in ("rename", "replace", "fsync", "mkdir", "unlink"):
        real = getattr(os, name)

        def slow(*args, real=real, **more):
            time.sleep(rng.choice((0, 0.01, 0.05)))
            return real(*args, **more)

        setattr(os, name, slow)


def kill_a_worker(child: server.Child, folder: Path, rng: random.Random) -> None:
    """Kill one worker, as the system does when memory runs out."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not child.poll():
        workers = [pid for pid in server.session(child.pid) if pid != child.pid]
        if workers:
            time.sleep(rng.uniform(0, 1))
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)
            return
        time.sleep(0.01)


def take_folder_away(child: server.Child, folder: Path, rng: random.Random) -> None:
    """Rename what the run has begun to write, as somebody does who tidies up."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not child.poll():
        for found in folder.iterdir():
            time.sleep(rng.uniform(0, 1.5))
            with contextlib.suppress(OSError):  # the run has just renamed it itself
                found.rename(folder.with_name("gone"))
                return
        time.sleep(0.01)


def read_only(folder: Path, rng: random.Random) -> None:
    """A folder that refuses writes, even those of root."""
    _mount("--bind", str(folder), str(folder))
    _mount("-o", "remount,ro,bind", str(folder))


def small_disk(folder: Path, rng: random.Random) -> None:
    """A disk that fills up at any write, those of native libraries included."""
    kilobytes = int(2 ** rng.uniform(2, 12))
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder))


def _mount(*words: str) -> None:
    """Only root can mount; the others skip the fault."""
    if subprocess.run(["mount", *words], capture_output=True).returncode:
        raise PermissionError("only root can mount a disk for this fault")


def enlarge(folder: Path) -> None:
    """Make room on a small disk."""
    _mount("-o", "remount,size=200m", str(folder))


def writable(folder: Path) -> None:
    """End the refusal of writes."""
    subprocess.run(["umount", str(folder)], check=True)


def link_in_place(folder: Path, rng: random.Random) -> None:
    """A link to another folder where the output folder would be."""
    (folder / "real").mkdir()
    (folder / "out").symlink_to("real")


ALL = ("edit", "edit a folder", "build-dataset", "finetune", "evaluate")
WORKERS = ("build-dataset, shards, 2 workers", "evaluate, 2 workers")

FAULTS: dict[str, Fault] = {
    "no space from a write on": Fault(
        lambda rng: fail_at(rng.randrange(1, rng.choice((20, 100, 700))), errno.ENOSPC), ALL, repeats=0
    ),
    "no space at each write of an edit": Fault(each_write=errno.ENOSPC),
    "an input or output error from a write on": Fault(
        lambda rng: fail_at(rng.randrange(1, rng.choice((20, 100, 700))), errno.EIO), ALL, repeats=0
    ),
    "a full disk": Fault(verbs=ALL, repeats=0, prepare=small_disk, repair=enlarge),
    "a limit on the size of a file": Fault(size_limit, ALL, repeats=6),
    "a worker is killed": Fault(verbs=WORKERS, repeats=3, during=kill_a_worker),
    "the folder vanishes": Fault(verbs=ALL, repeats=2, during=take_folder_away),
    "a read-only folder": Fault(verbs=ALL, prepare=read_only, repair=writable),
    "a clock that jumps": Fault(odd_clock, ALL, right=True),
    "64 open files": Fault(file_limit, (*ALL, *WORKERS), right=True),
    "no home": Fault(without("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME"), ALL, right=True),
    "no locale": Fault(no_locale, ALL, right=True),
    "no shared memory": Fault(no_shared_memory, (*ALL, *WORKERS), right=True),
    "a slow folder": Fault(slow_disk, ALL, right=True),
    "a link where the output folder would be": Fault(
        verbs=("edit a folder", "build-dataset", "finetune", "evaluate"), prepare=link_in_place
    ),
}


class Faults:
    """Runs commands under faults, and repeats them without."""

    def __init__(self, fixtures: Fixtures, folder: Path):
        self._fixtures, self._folder = fixtures, folder
        self._commands = commands(fixtures)
        self._wanted: dict[str, dict[str, str]] = {}
        self._moments: dict[str, list[int]] = {}

    def run(self, name: str, verb: str, seed: int) -> dict:
        """One fault in one run, then the same command without it; returns a record."""
        fault, rng = FAULTS[name], random.Random(f"{name} {verb} {seed}")
        folder = self._fresh("run")
        if fault.prepare:
            fault.prepare(folder, rng)
        moment = None
        if fault.each_write is not None:
            moment = self.moments(verb)[seed % MOST_WRITES]
        before = (lambda: fail_at(moment, fault.each_write)) if moment else (lambda: fault.before(rng))
        child = self._child(verb, folder, before=before)
        if fault.during:
            fault.during(child, folder, random.Random(seed))
        first = child.wait()
        if fault.repair:
            fault.repair(folder)
        finds = judge(first, (0, 1) if fault.right else (0, 1, 2))
        if first.code and fault.right:
            finds.append(f"must work: {first}")
        second = self._child(verb, folder).wait() if first.code or fault.during else first
        if second.code:
            finds += [f"the same command must work afterwards: {second}, first: {first}"]
        else:
            finds += self._differences(verb, folder, links=fault.prepare is link_in_place)
        left = [path.name for path in (folder.parent / "home/tmp").glob("*") if "toolkit" in path.name]
        finds += [f"left in the temporary folder: {name}" for name in left]
        return {
            "group": name,
            "count": 1,
            "verb": verb,
            "seed": seed,
            "moment": moment,
            "code": first.code,
            "said": first.err.strip()[-400:],
            "seconds": round(first.seconds + second.seconds, 1),
            "finds": finds,
        }

    def moments(self, verb: str) -> list[int]:
        """The numbers of the writes of an undisturbed run; if there are many, some at equal distances."""
        if verb not in self._moments:
            folder = self._fresh("writes")
            counted = folder.parent / "counted"

            def count() -> None:
                file = os.open(counted, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
                at_writes(lambda path: os.write(file, b".") and None)

            self._child(verb, folder, before=count).wait()
            writes = counted.stat().st_size
            trials = min(writes, MOST_WRITES)
            self._moments[verb] = [1 + number * (writes - 1) // max(1, trials - 1) for number in range(trials)]
        return self._moments[verb]

    def together(self, verb: str, seed: int) -> dict:
        """Two runs of one command at the same time on one output."""
        folder, rng = self._fresh("run"), random.Random(seed)
        first = self._child(verb, folder)
        time.sleep(rng.uniform(0, 2))
        second = server.Child(
            self._commands[verb][0],
            folder,
            environment=self._fixtures.environment(self._folder / "other-home"),
            log="second",
        )
        while not (first.poll() and second.poll()):
            time.sleep(0.02)
        ends = [first.wait(), second.wait()]
        finds = [find for ended in ends for find in judge(ended)]
        if all(ended.code for ended in ends):
            finds.append(f"one of two must work: {ends[0]}, {ends[1]}")
        last = self._child(verb, folder).wait()
        if last.code:
            finds.append(f"the same command must work afterwards: {last}")
        finds += self._differences(verb, folder)
        said = " | ".join(ended.err.strip()[-200:] for ended in ends)
        return {
            "group": "two runs on one output",
            "count": 1,
            "verb": verb,
            "seed": seed,
            "code": max(ended.code for ended in ends),
            "said": said,
            "finds": finds,
        }

    def _differences(self, verb: str, folder: Path, links: bool = False) -> list[str]:
        wanted, found = self._undisturbed(verb), tree(folder)
        if links:
            found = {
                name.replace("real/", "out/", 1) if name.startswith("real/") else name: value
                for name, value in found.items()
            }
            found.pop("real", None)
            found["out"] = "folder"
        return [
            f"{name} is {found.get(name, 'absent')}, expected {wanted.get(name, 'nothing')}"
            for name in sorted(found.keys() | wanted.keys())
            if found.get(name) != wanted.get(name)
        ]

    def _undisturbed(self, verb: str) -> dict[str, str]:
        if verb not in self._wanted:
            folder = self._fresh(f"whole-{verb}".replace(" ", "-").replace(",", ""))
            ended = self._child(verb, folder).wait()
            if ended.code:
                raise RuntimeError(f"{verb} must work without a fault: {ended}")
            self._wanted[verb] = tree(folder)
        return self._wanted[verb]

    def _child(self, verb: str, folder: Path, before: Callable[[], None] | None = None) -> server.Child:
        environment = self._fixtures.environment(folder.parent / "home")
        return server.Child(self._commands[verb][0], folder, environment=environment, before=before)

    def _fresh(self, name: str) -> Path:
        folder = self._folder / name
        if name == "run":
            remove(self._folder / name / "gone")
        if os.path.ismount(folder / "run"):
            writable(folder / "run")
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "run").mkdir(parents=True)
        return folder / "run"


def campaign(
    fixtures: Fixtures, folder: Path, count: int, seed: int, done: dict[str, int], only: str = ""
) -> Iterator[dict]:
    """All faults on all their verbs; those at random moments `count` times for each verb."""
    faults = Faults(fixtures, folder)
    for name, fault in FAULTS.items():
        if only not in name:
            continue
        if fault.each_write is not None:
            trials = [(verb, number) for verb in fault.verbs for number in range(len(faults.moments(verb)))]
        else:
            trials = [(verb, number) for number in range(min(fault.repeats or count, count)) for verb in fault.verbs]
        for verb, number in trials[done.get(name, 0) :]:
            try:
                yield faults.run(name, verb, seed * 1_000_000 + number)
            except PermissionError as error:
                print(f"left out: {name}: {error}", file=sys.stderr)
    if only in "two runs on one output":
        for number, verb in list(enumerate(ALL))[done.get("two runs on one output", 0) :]:
            yield faults.together(verb, seed * 1_000_000 + number)
