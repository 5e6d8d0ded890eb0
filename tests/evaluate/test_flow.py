"""Optical flow: results, inputs, and the choice between RAFT and DIS."""

import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from torchvision.models.optical_flow import raft_large
from torchvision.models.optical_flow.raft import CorrBlock

from toolkit.errors import InputError, MissingExtra, UsageError
from toolkit.evaluate import correlation
from toolkit.evaluate.correlation import BoundedCorrelation
from toolkit.evaluate.flow import DisFlow, RaftFlow, choose_flow, raft_weights
from toolkit.fetch.downloads import DOWNLOADS, RemoteFile


@pytest.fixture(scope="module")
def model():
    """RAFT with random weights, the same in every run."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return raft_large(weights=None).eval()


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("raft") / "random.pth"
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def raft(weights):
    return RaftFlow(weights, "cpu", iterations=2)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder in place of the cache that holds RAFT's published weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    assert raft_weights().parent == folder
    return folder


@pytest.fixture
def published(weights, cache, monkeypatch):
    """The random weights, treated as the published ones."""
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    file = RemoteFile("https://example.org/raft.pth", digest[:8])
    monkeypatch.setitem(DOWNLOADS, "raft", replace(DOWNLOADS["raft"], files=(file,)))
    (cache / "raft.pth").write_bytes(weights.read_bytes())


def texture(height, width, seed=0):
    smooth = gaussian_filter(np.random.default_rng(seed).uniform(0, 255, (height, width, 3)), (3, 3, 0))
    return np.interp(smooth, (smooth.min(), smooth.max()), (0, 255)).astype(np.uint8)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def assert_finds_motion(flow):
    """The pixel of `one` at (x, y) is at (x + 4, y - 2) in `other`."""
    wide = texture(200, 220)
    one, other = wide[20:180, 20:196], wide[22:182, 16:192]
    found = flow(np.stack([one, other]), np.stack([other, one]))
    assert found.dtype == np.float32 and found.shape == (2, 160, 176, 2)
    middle = found[:, 20:-20, 20:-20].reshape(2, -1, 2)
    np.testing.assert_allclose(np.median(middle, axis=1), [[4, -2], [-4, 2]], atol=0.1)


# DIS


def test_dis_finds_motion():
    assert_finds_motion(DisFlow())


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 200), (11, 12), (13, 5), (37, 41)])
def test_dis_takes_any_size(height, width):
    one, other = noise(2, height, width), noise(2, height, width, seed=1)
    found = DisFlow()(one, other)
    assert found.shape == (2, height, width, 2) and np.isfinite(found).all()
    assert not DisFlow()(one, one).any()


def test_dis_forgets_what_it_has_seen():
    one, other = noise(1, 48, 64), noise(1, 48, 64, seed=1)
    flow = DisFlow()
    first = flow(one, other)
    flow(other, one)
    np.testing.assert_array_equal(flow(one, other), first)


def test_dis_looks_at_grey_of_rgb():
    one, other = noise(1, 48, 64), noise(1, 48, 64, seed=1)
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    greys = [np.round(frames[0] @ [0.299, 0.587, 0.114]).astype(np.uint8) for frames in (one, other)]
    wanted, found = dis.calc(*greys, None), DisFlow()(one, other)[0]
    swapped = DisFlow()(one[..., ::-1].copy(), other[..., ::-1].copy())[0]
    # cv2 rounds a few greys to the other side.
    assert np.median(np.abs(found - wanted)) < 0.05 < np.median(np.abs(swapped - wanted))


# RAFT


def reference(model, one, other, iterations, scale=lambda frames: frames / 127.5 - 1):
    planes = (scale(torch.from_numpy(frames).permute(0, 3, 1, 2).float()) for frames in (one, other))
    with torch.inference_mode():
        return model(*planes, num_flow_updates=iterations)[-1].permute(0, 2, 3, 1).numpy()


def test_raft_is_torchvisions(model, raft):
    one, other = noise(2, 128, 136), noise(2, 128, 136, seed=1)
    np.testing.assert_allclose(raft(one, other), reference(model, one, other, 2), atol=1e-5)


def test_raft_on_frames_of_0_to_1_is_another_flow(model, raft):
    one, other = noise(1, 128, 128), noise(1, 128, 128, seed=1)
    wrong = reference(model, one, other, 2, scale=lambda frames: frames / 255)
    assert np.abs(raft(one, other) - wrong).mean() > 0.01 * np.abs(wrong).mean()


def test_raft_normalises_as_torchvisions_transform():
    from torchvision.models.optical_flow import Raft_Large_Weights

    planes = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    transformed, _ = Raft_Large_Weights.C_T_SKHT_V2.transforms()(planes, planes)
    torch.testing.assert_close(transformed, planes.float() / 127.5 - 1)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (37, 150), (130, 128)])
def test_raft_takes_any_size(raft, height, width):
    found = raft(noise(1, height, width), noise(1, height, width, seed=1))
    assert found.shape == (1, height, width, 2) and np.isfinite(found).all()


def test_raft_pads_with_the_border_and_cuts_back(model, raft):
    one, other = noise(1, 131, 121), noise(1, 131, 121, seed=1)
    whole = [np.pad(frames, ((0, 0), (2, 3), (3, 4), (0, 0)), mode="edge") for frames in (one, other)]
    np.testing.assert_allclose(raft(one, other), reference(model, *whole, 2)[:, 2:-3, 3:-4], atol=1e-5)


def test_raft_takes_no_pair(raft):
    assert raft(noise(0, 128, 128), noise(0, 128, 128)).shape == (0, 128, 128, 2)


@pytest.mark.parametrize("limit", [0, 200_000, 500_000])
def test_raft_within_little_memory_is_the_same(raft, monkeypatch, limit):
    one, other = noise(2, 128, 136), noise(2, 128, 136, seed=1)
    whole = raft(one, other)
    monkeypatch.setattr(correlation, "MAX_BYTES", limit)
    np.testing.assert_allclose(raft(one, other), whole, atol=1e-4)


def test_raft_of_many_iterations_names_them(weights, raft):
    assert RaftFlow(weights, "cpu", iterations=20).name == f"{raft.name.rsplit(',', 1)[0]}, 20 updates"


def test_raft_finds_motion():
    if not raft_weights().is_file():
        pytest.skip(f"the weights are not here: {raft_weights()}")
    assert_finds_motion(RaftFlow(device="cpu"))


# RAFT's correlations


@pytest.mark.parametrize("limit", [0, 100_000, 250_000, 1 << 30])
@pytest.mark.parametrize("reach", [0.5, 5, 40, 1000])
def test_correlations_are_torchvisions(monkeypatch, limit, reach):
    """The values agree far outside the frame too, and for maps with odd sides."""
    monkeypatch.setattr(correlation, "MAX_BYTES", limit)
    monkeypatch.setattr(correlation, "_GATHER_BYTES", 4 * 16 * 100 * 64)
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn((2, 2, 16, 17, 22), generator=generator)
    y, x = torch.meshgrid(torch.arange(17.0), torch.arange(22.0), indexing="ij")
    places = torch.stack([x, y]) + reach * torch.randn((2, 2, 17, 22), generator=generator)
    blocks = CorrBlock(), BoundedCorrelation()
    for block in blocks:
        block.build_pyramid(one, other)
    wanted, found = (block.index_pyramid(places) for block in blocks)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_memory_of_a_pass_is_bounded():
    block = BoundedCorrelation()
    assert block.pairs_at_once(16, 16) > 100
    assert 4 <= block.pairs_at_once(64, 64) <= 20
    assert block.pairs_at_once(90, 160) == 1 == block.pairs_at_once(270, 480)


# weights


def test_weights_of_another_format(weights, raft, tmp_path, model):
    path = tmp_path / "random.safetensors"
    save_file(model.state_dict(), path)
    one, other = noise(1, 128, 128), noise(1, 128, 128, seed=1)
    np.testing.assert_array_equal(RaftFlow(path, "cpu", iterations=2)(one, other), raft(one, other))


def test_other_weights_than_the_published_are_named(weights):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert RaftFlow(weights, "cpu").name == f"RAFT large with the weights random.pth (SHA-256 {digest[:8]})"


def test_absent_weights(cache, tmp_path):
    with pytest.raises(MissingExtra, match=r"ff5fadd5\.pth; run `toolkit fetch raft`"):
        RaftFlow()
    with pytest.raises(InputError, match="found no file"):
        RaftFlow(tmp_path / "none.pth")


def test_damaged_cache_is_no_reason_for_another_flow(cache, weights):
    raft_weights().write_bytes(weights.read_bytes()[:-100])
    for name in ("auto", "raft"):
        with pytest.raises(InputError, match="damaged; run `toolkit fetch raft`"):
            choose_flow(name)


@pytest.mark.parametrize("kind", ["cut", "text", "list", "other", "empty", "class", "safetensors"])
def test_useless_weights(kind, weights, tmp_path):
    path = tmp_path / ("bad.safetensors" if kind == "safetensors" else "bad.pth")
    if kind == "cut":
        path.write_bytes(weights.read_bytes()[:1_000_000])
    elif kind in ("text", "safetensors"):
        path.write_text("<html>not found</html>")
    elif kind == "empty":
        path.touch()
    else:
        torch.save({"list": [1], "other": {"a": torch.zeros(1)}, "class": torch.nn.Linear(1, 1)}[kind], path)
    with pytest.raises(InputError, match=r"torchvision's raft_large, but .*bad"):
        RaftFlow(path, "cpu")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_mutated_weights_load_or_are_refused(tmp_path):
    """Whatever the bytes, the reader raises nothing else."""
    from toolkit.evaluate.flow import _load

    module, rng = torch.nn.Linear(3, 2), np.random.default_rng(0)
    path = tmp_path / "mutated.pth"
    for modern in (True, False):
        torch.save(module.state_dict(), path, _use_new_zipfile_serialization=modern)
        data = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(150):
            changed = data.copy()
            changed[rng.integers(0, len(data), 4)] = rng.integers(0, 256, 4)
            path.write_bytes(changed.tobytes())
            try:
                _load(module, path)
            except InputError as error:
                assert str(path) in str(error)


# the choice


def test_auto_without_weights_is_dis(cache):
    assert isinstance(choose_flow(), DisFlow)
    assert isinstance(choose_flow("dis"), DisFlow)
    with pytest.raises(MissingExtra):
        choose_flow("raft")


def test_auto_with_weights_is_raft(cache, weights):
    flow = choose_flow("auto", weights, "cpu")
    assert isinstance(flow, RaftFlow) and "random.pth" in flow.name


def test_auto_takes_fetched_weights(published):
    assert choose_flow(device="cpu").name == "RAFT large C_T_SKHT_V2"


def test_wrong_choice(weights):
    with pytest.raises(UsageError, match="did you mean raft"):
        choose_flow("rafft")
    with pytest.raises(UsageError, match="dis has no weights"):
        choose_flow("dis", weights)
    with pytest.raises(UsageError, match="no device"):
        RaftFlow(weights, "cuda:99")


@pytest.mark.parametrize("kind", ["dis", "raft"])
def test_wrong_frames(kind, request):
    flow = DisFlow() if kind == "dis" else request.getfixturevalue("raft")
    good = noise(1, 32, 32)
    for bad in (good[0], good.astype(np.float32), good[..., :1], noise(1, 0, 32)):
        with pytest.raises(ValueError, match=r"uint8 \[B, H, W, 3\]"):
            flow(bad, bad)
    with pytest.raises(ValueError, match="one shape"):
        flow(good, noise(1, 32, 40))
