"""Small datasets of either format: drawn pictures of three sources with two clips of four frames each."""

import shutil
from pathlib import Path

import pytest

from toolkit.testing.drawn_dataset import drawn_dataset


@pytest.fixture(scope="session")
def originals(tmp_path_factory):
    """Datasets by format; nobody changes them."""
    root = tmp_path_factory.mktemp("datasets")
    return {format: drawn_dataset(root / format, format=format) for format in ("imagefolder", "webdataset")}


@pytest.fixture(params=["imagefolder", "webdataset"])
def original(request, originals):
    """A dataset of each format; not to be changed."""
    return originals[request.param]


@pytest.fixture
def copy(originals, tmp_path):
    """A function that copies a dataset of a format to spoil it."""
    return lambda format: Path(shutil.copytree(originals[format], tmp_path / format))


@pytest.fixture
def offline(monkeypatch, tmp_path_factory):
    """The datasets library with a cache of its own and no way out."""
    import datasets

    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    yield cache
    datasets.enable_progress_bars()


@pytest.fixture
def litter():
    """A function that leaves what file managers, archivers, git and downloads leave, in a folder and below."""

    def leave(root):
        for folder in [root, *[path for path in root.rglob("*") if path.is_dir()]]:
            for name in (".DS_Store", "Thumbs.db", "desktop.ini", "Desktop.ini", "._image.png", ".gitattributes"):
                (folder / name).write_bytes(b"\0\5\x16\7")
            for name in ("__MACOSX", ".git", ".cache"):
                (folder / name / "deep").mkdir(parents=True)
                (folder / name / "deep" / "._metadata.jsonl").write_bytes(b"\0\5\x16\7")

    return leave
