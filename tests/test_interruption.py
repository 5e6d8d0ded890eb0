"""An interruption says what the user can do next."""

import os
import signal

import pytest

from toolkit.interruption import RESUMES, termination_interrupts


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("advice", "said"), [(RESUMES, "the same command resumes"), ("", "")])
def test_advice(number, advice, said):
    # A runner in the background ignores Ctrl-C.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(KeyboardInterrupt) as raised, termination_interrupts(advice):
            os.kill(os.getpid(), number)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert str(raised.value) == said
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_reason_that_is_known_stays():
    with pytest.raises(KeyboardInterrupt, match="stopped at step 3"), termination_interrupts(RESUMES):
        raise KeyboardInterrupt("stopped at step 3")
