"""Worker processes: whatever happens in one becomes the outcome of its item, and its noise stays out of sight."""

import contextlib
import glob
import importlib
import os
import subprocess
import sys
import tempfile

import pytest

from toolkit.errors import InputError
from toolkit.executor import InlineExecutor, ProcessExecutor, WorkerError


def alive(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory):
    """A folder for temporary files that no other test writes into at the same time."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


def message_files():
    return set(glob.glob(os.path.join(tempfile.gettempdir(), "toolkit-worker-*")))


@pytest.fixture(scope="module")
def work(plugin):
    return importlib.import_module("dotty").work


@pytest.fixture(scope="module")
def outcomes(work):
    """Every kind of item in two workers."""
    before = message_files()
    items = ["one", "die", "print", "raise", "two", "refuse", "odd", "exit", "abort", "three"]
    found = {outcome.item: outcome for outcome in ProcessExecutor(2).run(work, items)}
    assert set(found) == set(items)
    assert not message_files() - before
    return found


@pytest.mark.parametrize("item", ["one", "print", "two", "three"])
def test_good_items_are_done_whatever_happens_beside_them(outcomes, item):
    assert outcomes[item].error is None
    assert outcomes[item].details == ""
    assert outcomes[item].value[0] == item
    assert outcomes[item].value[1] != os.getpid()


@pytest.mark.parametrize(
    "item, words", [("die", "SIGKILL; if memory ran out"), ("abort", "SIGABRT"), ("exit", "exit code 7")]
)
def test_a_dead_worker_is_a_sentence_with_its_last_words(outcomes, item, words):
    outcome = outcomes[item]
    assert isinstance(outcome.error, WorkerError)
    assert words in str(outcome.error)
    assert "run the same command again" in str(outcome.error)
    assert f"native noise about {item}" in outcome.details
    assert outcome.details.count("native noise") == 1  # the noise of earlier items is gone


def test_a_crash_tells_where(outcomes):
    assert "in work" in outcomes["abort"].details


def test_a_bug_has_its_traceback_and_the_messages_before_it(outcomes):
    outcome = outcomes["raise"]
    assert str(outcome.error) == "unexpected ValueError: a bug"
    assert "Traceback" in outcome.details
    assert "native noise about raise" in outcome.details


def test_an_expected_error_travels_as_it_is(outcomes):
    assert type(outcomes["refuse"].error) is InputError
    assert outcomes["refuse"].details == ""


def test_an_error_that_does_not_pickle_keeps_its_text(outcomes):
    assert str(outcomes["odd"].error) == "3 apples"


def test_the_noise_of_a_worker_is_not_on_our_stderr():
    command = [sys.executable, "-c", "import dotty; dotty.main()", "one", "print", "refuse"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == ["one fine", "print fine", "refuse the item must be good, found a bad one"]


@pytest.mark.parametrize("executor", [ProcessExecutor(2), InlineExecutor()])
def test_events_arrive_in_order_before_the_result_of_their_item(plugin, executor):
    seen = []
    report_letters = importlib.import_module("dotty").report_letters
    for outcome in executor.run(report_letters, ["one", "three"], lambda item, event: seen.append((item, event))):
        assert [event for item, event in seen if item == outcome.item] == list(outcome.item)
        assert outcome.value == len(outcome.item)
    assert len(seen) == 8


def test_events_of_a_worker_that_dies_are_not_lost(plugin):
    seen = []
    report_letters = importlib.import_module("dotty").report_letters
    (outcome,) = ProcessExecutor(1).run(report_letters, ["a!b"], lambda item, event: seen.append(event))
    assert seen == ["a", "!"]
    assert "was ended by SIGKILL" in str(outcome.error)


def test_closing_stops_the_workers(work):
    before = message_files()
    running = ProcessExecutor(2).run(work, ["sleep", "one", "sleep"])
    first = next(running)
    pid = first.value[1]
    running.close()
    assert first.item == "one"
    assert not alive(pid)
    assert not message_files() - before


def test_workers_do_not_outlive_a_killed_parent():
    before = message_files()
    command = [sys.executable, "-c", "import dotty; dotty.main()", "one", "sleep"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "one fine\n"
        parent.kill()
        # Workers hold the pipe too, so it ends when the last of them has.
        assert parent.communicate(timeout=20)[0] == ""
    assert not message_files() - before


def test_no_items_start_no_process(work):
    assert list(ProcessExecutor(4).run(work, [])) == []


def test_without_room_for_temporary_files_there_is_a_sentence(work, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(WorkerError, match=r"a worker needs a temporary file.* set TMPDIR to a folder"):
        list(ProcessExecutor(1).run(work, ["one"]))
