import shutil

import pytest

from toolkit.testing import tiny_backbone


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    """A tiny backbone that no test may change."""
    return tiny_backbone(tmp_path_factory.mktemp("tiny") / "backbone")


@pytest.fixture
def folder(pristine, tmp_path):
    """A copy of it that a test may spoil."""
    return shutil.copytree(pristine, tmp_path / "backbone")
