"""The real facer code with small networks of the same signatures and known outputs."""

import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")
facer = pytest.importorskip("facer")

from facer.face_detection.retinaface import PriorBox, RetinaFace, cfg_mnet  # noqa: E402
from facer.transform import get_face_align_matrix  # noqa: E402

from toolkit.errors import InputError, MissingExtra, UsageError  # noqa: E402
from toolkit.faces import FaceAnalyser, availability, create_analyser, load_topology  # noqa: E402
from toolkit.faces.facer import CELEBM_CLASSES, FacerAnalyser  # noqa: E402
from toolkit.fetch.downloads import FACER_FILES  # noqa: E402

FIVE = torch.tensor([[-0.3, -0.2], [0.3, -0.2], [0.0, 0.05], [-0.22, 0.3], [0.22, 0.3]])
"""Eyes, nose and corners of the mouth, relative to the centre, in face sizes."""


class Detector(torch.nn.Module):
    """Has the signature of `RetinaFace`; finds the given faces: x, y and size in pixels of the frame."""

    def __init__(self, faces):
        super().__init__()
        self.faces = faces

    def forward(self, images):
        height, width = images.shape[2:]
        scale = torch.tensor([width, height], dtype=torch.float32)
        priors = PriorBox(cfg_mnet, image_size=(height, width)).generate_anchors(images.device)
        boxes, points = torch.zeros(len(priors), 4), torch.zeros(len(priors), 10)
        scores = torch.tensor([1.0, 0.0]).repeat(len(priors), 1)
        for x, y, size in self.faces:
            centre = torch.tensor([x, y], dtype=torch.float32)
            k = int(((priors[:, :2] * scale - centre).abs().sum(1) + (priors[:, 2] * width - size).abs()).argmin())
            prior = priors[k]
            boxes[k, :2] = (centre / scale - prior[:2]) / (0.1 * prior[2:])
            boxes[k, 2:] = torch.log(size / scale / prior[2:]) / 0.2
            points[k] = (((centre + FIVE * size) / scale - prior[:2]) / (0.1 * prior[2:])).flatten()
            scores[k] = torch.tensor([0.05, 0.95])
        return boxes[None], scores[None], points[None]


class Parser(torch.nn.Module):
    """Has the signature of FaRL's parser; bright pixels are glasses, others face."""

    def forward(self, images):
        bright = images.mean(dim=1, keepdim=True)
        logits = torch.zeros(images.shape[0], 19, images.shape[2], images.shape[3])
        logits[:, 15:16] = 20.0 * (bright - 0.5)
        return logits, [logits]


class Backbone(torch.nn.Module):
    """Has the signature of FaRL's transformer, which takes seconds per face on a CPU."""

    def forward(self, images):
        return [images[:, :, ::16, ::16]], None


class Head(torch.nn.Module):
    """Has the signature of the aligner's head; its heat maps have one fixed peak for each of the 68 points."""

    def __init__(self, peaks):
        super().__init__()
        side = 112
        place = (torch.arange(side) + 0.5) / side
        x = torch.exp(-((place - peaks[:, :1]) ** 2) / (2 * 0.02**2))
        y = torch.exp(-((place - peaks[:, 1:]) ** 2) / (2 * 0.02**2))
        maps = y[:, :, None] * x[:, None, :]
        self.register_buffer("maps", torch.logit(maps.clamp(1e-9, 1 - 1e-6)).float())

    def forward(self, features: list[torch.Tensor]):
        return self.maps[None].repeat(features[0].shape[0], 1, 1, 1)


def peaks():
    """Positions of the 68 points in the aligned picture, 0..1."""
    mean = load_topology("ibug68").mean[:, :2]
    return torch.tensor(0.5 + 0.22 * mean / np.abs(mean).max(), dtype=torch.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Weights with the file names of facer's release; backbone tensors have their real shapes but store one number."""
    from facer.face_alignment.network import FaRLVisualFeatures

    folder = tmp_path_factory.mktemp("facer")
    paths = {key: folder / file.name for key, file in FACER_FILES.items()}
    torch.manual_seed(0)
    torch.save(RetinaFace(cfg_mnet, phase="test").state_dict(), paths["detector_file"])
    torch.jit.save(torch.jit.script(Parser()), str(paths["parser_file"]))
    shapes = FaRLVisualFeatures("base", None, forced_input_resolution=448, output_indices=None).state_dict()
    state = {key: torch.zeros((), dtype=value.dtype).expand(value.shape) for key, value in shapes.items()}
    backbone = io.BytesIO()
    torch.save(state, backbone)
    head = torch.jit.script(Head(peaks()))
    torch.jit.save(head, str(paths["aligner_file"]), _extra_files={"backbone": backbone.getvalue()})
    return paths


@pytest.fixture(scope="module")
def analyser(files):
    analyser = create_analyser("facer", device="cpu", **files)
    # The real backbone has been built and has loaded its file; the rest of the alignment stays facer's.
    analyser._aligner.net.backbone = Backbone()
    yield analyser
    analyser.close()


@pytest.fixture
def told(analyser):
    """``told([(x, y, size), ...])``: the analyser with a detector that finds these faces."""
    real = analyser._detector.net

    def tell(faces):
        analyser._detector.net = Detector(faces)
        return analyser

    yield tell
    analyser._detector.net = real


def frame(height=240, width=320, value=60):
    return np.full((height, width, 3), value, np.uint8)


def expected_landmarks(x, y, size):
    """Positions of the peaks after facer's five-point alignment, in pixels from the corner of the frame."""
    points = torch.tensor([[x, y]]) + FIVE * size
    matrix = get_face_align_matrix(points[None], target_shape=(448, 448), target_face_scale=0.8)[0]
    aligned = torch.cat([peaks() * 448 - 0.5, torch.ones(68, 1)], dim=1)
    return (aligned @ torch.linalg.inv(matrix).T)[:, :2].numpy() + 0.5


def test_is_an_analyser(analyser):
    assert isinstance(analyser, FaceAnalyser)
    assert (analyser.name, analyser.topology.name) == ("facer", "ibug68")


def test_real_detector_with_random_weights_finds_nothing(analyser):
    assert analyser.analyse(np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)) == []


def test_one_face(told):
    (face,) = told([(150, 120, 90)]).analyse(frame())
    assert face.landmarks.shape == (68, 3) and face.landmarks.dtype == np.float32
    assert face.score == pytest.approx(0.95)
    assert not face.landmarks[:, 2].any()
    assert np.abs(face.landmarks[:, :2] - expected_landmarks(150.0, 120.0, 90.0)).max() < 1.0
    np.testing.assert_allclose(face.box[:2], face.landmarks[:, :2].min(axis=0))


def test_landmarks_follow_the_face(told):
    (here,) = told([(120, 110, 80)]).analyse(frame())
    (there,) = told([(180, 130, 80)]).analyse(frame())
    np.testing.assert_allclose((there.landmarks - here.landmarks)[:, :2], [[60, 20]] * 68, atol=0.3)


def test_several_faces_are_sorted_by_size_and_limited(told, monkeypatch):
    analyser = told([(60, 100, 50), (220, 120, 110)])
    large, small = analyser.analyse(frame())
    assert large.landmarks[:, 0].mean() == pytest.approx(220, abs=15)
    assert small.landmarks[:, 0].mean() == pytest.approx(60, abs=15)
    monkeypatch.setattr(analyser, "max_faces", 1)
    (only,) = analyser.analyse(frame())
    np.testing.assert_array_equal(only.landmarks, large.landmarks)


def test_parsing_is_a_class_map_of_the_frame(told):
    image = frame()
    image[100:140, 120:180] = 250
    (face,) = told([(150, 120, 90)]).analyse(image)
    assert face.parsing.shape == (240, 320) and face.parsing.dtype == np.uint8
    glasses = face.parsing == CELEBM_CLASSES.index("glasses")
    truth = np.zeros_like(glasses)
    truth[100:140, 120:180] = True
    assert (glasses & truth).sum() / (glasses | truth).sum() > 0.9


def test_class_names_are_facers():
    from facer.face_parsing.farl import pretrain_settings

    theirs = pretrain_settings["celebm/448"]["label_names"]
    short = {"background": "background", "eyeg": "glasses", "rb": "right_brow", "le": "left_eye", "ulip": "upper_lip"}
    assert len(CELEBM_CLASSES) == len(theirs) == 19
    for label, name in short.items():
        assert theirs.index(label) == CELEBM_CLASSES.index(name)


def test_dark_frame_is_accepted(told):
    (face,) = told([(150, 120, 90)]).analyse(frame(value=1))
    assert np.isfinite(face.landmarks).all()


def test_large_frame_is_shrunk(told, monkeypatch):
    monkeypatch.setattr("toolkit.faces.facer.MAX_SIDE", 320)
    (face,) = told([(150, 120, 90)]).analyse(frame(480, 640))
    assert face.parsing.shape == (480, 640)
    assert np.abs(face.landmarks[:, :2] - 2 * expected_landmarks(150.0, 120.0, 90.0)).max() < 2.0


def test_same_frame_same_faces(told):
    analyser = told([(150, 120, 90)])
    first = analyser.analyse(frame())[0]
    analyser.reset()
    second = analyser.analyse(frame())[0]
    np.testing.assert_array_equal(first.landmarks, second.landmarks)
    np.testing.assert_array_equal(first.parsing, second.parsing)


@pytest.mark.parametrize("side", [1, 8])
def test_tiny_frame_has_no_face(analyser, side):
    assert analyser.analyse(frame(side, side)) == []


@pytest.mark.parametrize("bad", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3))])
def test_arrays_that_are_not_frames_are_refused(analyser, bad):
    with pytest.raises(ValueError, match="a frame must be uint8"):
        analyser.analyse(bad)


def test_global_state_of_torch_is_left_alone(files, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    FacerAnalyser(device="cpu", **files).close()
    assert torch.backends.cudnn.benchmark is False


def test_missing_weights(files, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    sentence = availability("facer")
    assert str(tmp_path) in sentence and "https://" in sentence and "detector_file" in sentence
    with pytest.raises(MissingExtra, match="expects its weights at"):
        create_analyser("facer")
    assert not list(tmp_path.rglob("*.p*")), "something was downloaded"
    with pytest.raises(InputError, match="there is no file"):
        create_analyser("facer", **files | {"parser_file": tmp_path / "absent_jit.pt"})


def test_weights_in_torch_hubs_cache(files, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for path in files.values():
        (folder / path.name).symlink_to(path)
    assert availability("facer") is None


@pytest.mark.parametrize("key", list(FACER_FILES))
@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "pickle", "other"])
def test_wrong_weights_are_one_sentence(files, tmp_path, key, kind):
    import pickle

    path = tmp_path / "weights_jit.pt"
    content = files[key].read_bytes()
    if kind == "other":
        torch.save({"weight": torch.zeros(3)}, path)
    else:
        wrong = {
            "truncated": content[: len(content) // 2],
            "text": b"words",
            "empty": b"",
            "pickle": pickle.dumps(print),
        }
        path.write_bytes(wrong[kind])
    with pytest.raises(InputError) as raised:
        create_analyser("facer", device="cpu", **files | {key: path})
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_swapped_files(files):
    swapped = {**files, "parser_file": files["detector_file"]}
    with pytest.raises(InputError):
        create_analyser("facer", device="cpu", **swapped)


def test_pickle_is_never_run(files, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path / "ran").mkdir, ()

    path = tmp_path / "detector.pth"
    torch.save(Bomb(), path)
    with pytest.raises(InputError, match="holds more than tensors"):
        create_analyser("facer", device="cpu", **files | {"detector_file": path})
    assert not (tmp_path / "ran").exists()


def test_arguments_of_other_analysers_are_refused(files):
    with pytest.raises(UsageError, match="takes no model_file"):
        create_analyser("facer", model_file="x.task", **files)
    with pytest.raises(UsageError, match="takes no something"):
        create_analyser("facer", something="x")
