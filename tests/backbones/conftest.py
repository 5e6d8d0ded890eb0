import shutil

import pytest

from toolkit.testing import tiny_backbone


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    """A tiny backbone. Tests must not change it."""
    return tiny_backbone(tmp_path_factory.mktemp("tiny") / "backbone")


@pytest.fixture
def folder(pristine, tmp_path):
    """A copy that tests may change."""
    return shutil.copytree(pristine, tmp_path / "backbone")
