"""The 3DDFA regressor: its conventions, its files, and real faces."""

import pickle

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from attributes.stickers.morphable import MorphableMesher, TddfaPredictor, load_morphable_model
from toolkit.errors import InputError
from toolkit.faces import create_analyser
from toolkit.task import FaceClip
from toolkit.video import read_frames

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small tensors: threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(width=16, parameters=62):
    from attributes.stickers.morphable.mobilenet import MobileNet

    torch.manual_seed(0)
    return MobileNet(width, parameters)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tddfa")


@pytest.fixture(scope="module")
def stats(folder):
    """A frontal head: 1 px of the crop per 1000 micrometres, its origin at x 61, y 50 above the lower edge."""
    mean = np.zeros(62)
    mean[:12] = np.array([[1e-3, 0, 0, 61], [0, 1e-3, 0, 50], [0, 0, 1e-3, 1]]).ravel()
    mean[12:15] = 2000.0, -1000.0, 500.0
    path = folder / "stats.npz"
    np.savez(path, mean=mean, std=np.ones(62))
    return path


@pytest.fixture(scope="module")
def silent(folder):
    """Weights of a network that always says 0, so that the stats' mean comes out."""
    net = network()
    torch.nn.init.zeros_(net.fc_param.weight)
    torch.nn.init.zeros_(net.fc_param.bias)
    path = folder / "silent.pth"
    torch.save(net.state_dict(), path)
    return path


def corners(x0, y0, x1, y1):
    return np.array([[[x0, y0, 0], [x1, y1, 0]]], np.float32)


def test_crop_convention(silent, stats):
    """The square is sqrt(2) times the landmarks' longer side; x starts at 1, y counts upwards from the lower edge."""
    side = 120 / np.sqrt(2)
    frames = np.zeros((1, 300, 300, 3), np.uint8)
    found = TddfaPredictor(silent, stats).pose(frames, corners(100, 90, 100 + side, 90 + side / 2))
    centre = np.array([100 + side / 2, 90 + side / 4])
    np.testing.assert_allclose(found.translation[0, :2], centre - 60 + [60, 70], atol=1e-4)
    np.testing.assert_allclose(found.rotation[0], np.eye(3), atol=1e-9)
    np.testing.assert_allclose(found.scale, 1e-3, rtol=1e-5)
    twice = TddfaPredictor(silent, stats).pose(frames, 2 * corners(100, 90, 100 + side, 90 + side / 2))
    np.testing.assert_allclose(twice.scale, 2e-3, rtol=1e-5)
    np.testing.assert_allclose(twice.translation[0, :2], 2 * found.translation[0, :2], atol=1e-3)


def test_shape_is_a_prior_for_the_model_of_2009_only(silent, stats, synthetic, write_mat, write_h5):
    predictor = TddfaPredictor(silent, stats)
    frames, landmarks = np.zeros((2, 64, 64, 3), np.uint8), np.repeat(corners(10, 10, 50, 50), 2, axis=0)
    old = load_morphable_model(write_mat(synthetic))
    prior = predictor.predict(frames, landmarks, old)
    assert prior.rotation.shape == (2, 3, 3) and prior.expression is None
    np.testing.assert_allclose(prior.identity[:3] * old.identity_std[:3], [2000, -1000, 500], rtol=1e-5)
    assert predictor.predict(frames, landmarks, load_morphable_model(write_h5(synthetic))).identity is None


def test_weights_in_every_wrapping_give_the_same(folder, stats):
    state = network().eval().state_dict()
    torch.save(state, folder / "plain.pth")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, folder / "wrapped.pth")
    torch.save(state | {"fc_lm.weight": torch.zeros(136, 8)}, folder / "second_head.pth")
    safetensors.save_file(state, folder / "plain.safetensors")
    frames = np.random.default_rng(0).integers(0, 256, (2, 90, 90, 3), np.uint8)
    landmarks = np.repeat(corners(20, 20, 70, 70), 2, axis=0)
    poses = [
        TddfaPredictor(folder / name, stats).pose(frames, landmarks)
        for name in ("plain.pth", "wrapped.pth", "second_head.pth", "plain.safetensors")
    ]
    for pose in poses:
        np.testing.assert_array_equal(pose.shape, poses[0].shape)
        np.testing.assert_allclose(np.linalg.det(pose.rotation), 1, atol=1e-9)


class Runs:
    def __reduce__(self):
        return print, ("it ran",)


def broken_weights():
    good = network().state_dict()

    def saved(value):
        return lambda path: torch.save(value, path)

    return {
        "pickle": (lambda path: path.write_bytes(pickle.dumps(Runs())), "pickle"),
        "pickle inside": (saved({"conv1.weight": Runs()}), "pickle"),
        "empty": (lambda path: path.write_bytes(b""), "an empty file"),
        "text": (lambda path: path.write_text("hello"), "begins with"),
        "other network": (saved({"layer.weight": torch.zeros(3)}), "conv1 and fc_param"),
        "a list": (saved([torch.zeros(3)]), "state dict"),
        "a tensor": (saved(torch.zeros(3)), "state dict"),
        "numbered": (saved({1: torch.zeros(3)}), "state dict"),
        "wrong size": (saved(network(parameters=70).state_dict()), "62 parameters"),
        "a layer short": (saved({k: v for k, v in good.items() if "dw3" not in k}), "dw3"),
        "not finite": (saved(good | {"fc_param.bias": torch.full((62,), float("nan"))}), "finite"),
        "odd width": (saved(good | {"conv1.weight": torch.zeros(7, 3, 3, 3)}), "MobileNet"),
    }


@pytest.mark.parametrize("kind", list(broken_weights()))
def test_other_weights_are_refused(tmp_path, stats, kind, capsys, recwarn):
    write, expected = broken_weights()[kind]
    path = tmp_path / "weights.pth"
    write(path)
    refuse(path, stats, expected)
    assert "it ran" not in capsys.readouterr().out and not recwarn.list


def refuse(path, stats, expected):
    with pytest.raises(InputError, match=expected) as error:
        TddfaPredictor(path, stats).pose(np.zeros((1, 32, 32, 3), np.uint8), corners(5, 5, 25, 25))
    text = str(error.value)
    assert str(path) in text and "\n" not in text and len(text) < 500 and "weights_only" not in text


def test_truncated_and_missing_weights_are_refused(tmp_path, stats, silent):
    data = silent.read_bytes()
    for share in (0.01, 0.3, 0.9, 0.999):
        path = tmp_path / "weights.pth"
        path.write_bytes(data[: int(len(data) * share)])
        refuse(path, stats, "expected")
    safe = tmp_path / "weights.safetensors"
    safe.write_bytes(data[:100])
    refuse(safe, stats, "damaged")
    refuse(tmp_path / "nowhere.pth", stats, "check the path")
    refuse(tmp_path, stats, "cannot be read")


def test_other_stats_are_refused(tmp_path, silent):
    path = tmp_path / "stats.npz"
    for arrays in (
        {"mean": np.zeros(62)},
        {"mean": np.zeros(61), "std": np.ones(61)},
        {"mean": np.full(62, np.nan), "std": np.ones(62)},
        {"mean": np.array([{}], object), "std": np.ones(62)},
        {"mean": np.array(["a"] * 62), "std": np.ones(62)},
    ):
        np.savez(path, **arrays)
        with pytest.raises(InputError, match="expected") as error:
            TddfaPredictor(silent, path)
        assert "\n" not in str(error.value)
    for content in (b"", b"text", pickle.dumps({"mean": 1}), b"PK\x03\x04" + b"\0" * 50):
        path.write_bytes(content)
        with pytest.raises(InputError, match="expected"):
            TddfaPredictor(silent, path)


@pytest.fixture(scope="module")
def real(shared):
    return TddfaPredictor(shared("weights/3ddfa_mb05_120x120.pth"), shared("weights/3ddfa_param_mean_std_62d.npz"))


@pytest.fixture(scope="module")
def analyser():
    made = create_analyser()
    yield made
    made.close()


def angles(rotation):
    """Yaw, pitch and roll in degrees."""
    return Rotation.from_matrix(rotation).as_euler("YXZ", degrees=True)


@pytest.mark.parametrize("person", ["001", "003", "005", "006"])
def test_frontal_portraits(shared, real, analyser, person):
    import cv2

    image = cv2.imread(str(shared(f"stills/london/{person}_neutral.jpg")))[..., ::-1].copy()
    analyser.reset()
    landmarks = analyser.analyse(image)[0].landmarks
    straight = real.pose(image[None], landmarks[None])
    assert np.abs(angles(straight.rotation)).max() < 6
    # The origin of the model is inside the head, behind the nose; the head is some 20 cm high, 120 px of the crop.
    extent = np.ptp(landmarks[:, :2], axis=0).max()
    assert np.linalg.norm(straight.translation[0, :2] - landmarks[:468, :2].mean(axis=0)) < 0.2 * extent
    assert 120_000 < extent / straight.scale[0] < 230_000

    # A mirrored picture turns and rolls the other way.
    width = image.shape[1]
    mirrored = landmarks * [-1, 1, 1] + [width, 0, 0]
    other = real.pose(image[None, :, ::-1].copy(), mirrored[None].astype(np.float32))
    assert np.abs(angles(other.rotation)[0] - angles(straight.rotation)[0] * [-1, 1, -1]).max() < 3

    # A picture turned by 20 degrees clockwise is a head rolled by as much.
    middle = landmarks[:468, :2].mean(axis=0)
    matrix = cv2.getRotationMatrix2D([float(v) for v in middle], -20, 1)
    turned = landmarks.copy()
    turned[:, :2] = landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    rolled = real.pose(cv2.warpAffine(image, matrix, image.shape[1::-1])[None], turned[None])
    assert abs(angles(rolled.rotation)[0, 2] - angles(straight.rotation)[0, 2] - 20) < 4


def test_it_agrees_with_the_landmarks_while_the_head_moves(shared, real, analyser):
    frames = np.stack([f.image for f in read_frames(shared("media/faces/lia_vox_driving3.mov"), max_side=512)][:200:8])
    analyser.reset()
    landmarks = np.stack([analyser.analyse(frame)[0].landmarks for frame in frames])
    clip = FaceClip(frames, landmarks, analyser.topology, np.arange(len(frames)) / 25)
    head = load_morphable_model(shared("weights/ict_face_head.npz"))
    fitted = MorphableMesher(head).fit(clip)
    ours, theirs = angles(fitted.rotation), angles(real.pose(frames, landmarks).rotation)
    print("range", np.ptp(ours, axis=0), "difference", np.abs(ours - theirs).mean(axis=0))
    assert np.corrcoef(ours[:, 0], theirs[:, 0])[0, 1] > 0.9
    assert np.abs(ours - theirs).mean(axis=0).max() < 6
    # The network only says where to begin: the landmarks decide.
    begun = MorphableMesher(head, real).fit(clip)
    np.testing.assert_allclose(begun.error, fitted.error, rtol=0.02)
