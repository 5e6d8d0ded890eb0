"""Imports without the garbage collector."""

import gc

import pytest

from toolkit.imports import uncollected


def test_the_collector_is_off_inside_and_as_before_outside():
    assert gc.isenabled()
    with pytest.raises(KeyError), uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()
