"""Files of morphable models: what they hold comes out right, whatever else is offered is refused in one sentence."""

import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from attributes.stickers.morphable import MorphableModel, load_morphable_model
from attributes.stickers.morphable.align import vertex_normals
from attributes.stickers.morphable.correspondence import Correspondence
from toolkit.errors import InputError
from toolkit.faces.topology import load_topology


def expected_shape(synthetic, identity, expression):
    flat = synthetic.mean.ravel() + synthetic.identity @ (synthetic.identity_std * identity)
    flat = flat + synthetic.expression @ (synthetic.expression_std * expression)
    return flat.reshape(-1, 3) * [1, -1, -1]


def test_h5_of_2017(synthetic, write_h5):
    model = load_morphable_model(write_h5(synthetic))
    assert model.name == "bfm2017"
    np.testing.assert_allclose(model.mean, synthetic.ours, atol=1e-3)
    identity, expression = np.linspace(-2, 2, 8), np.array([1.0, -1.0, 0.5, 2.0])
    np.testing.assert_allclose(
        model.vertices(identity, expression), expected_shape(synthetic, identity, expression), atol=1e-2
    )
    np.testing.assert_allclose(model.landmarks["center.nose.tip"], synthetic.ours[1], atol=1e-3)
    np.testing.assert_array_equal(model.triangles, synthetic.triangles)


def test_h5_without_expressions_or_landmarks(synthetic, write_h5):
    model = load_morphable_model(write_h5(synthetic, drop=("expression", "metadata"), offset=0.0))
    assert model.expression_basis.shape == (synthetic.mean.size, 0) and model.landmarks == {}
    assert model.vertices(np.zeros(2), np.zeros(0)).shape == synthetic.mean.shape


def test_mat_of_2009(synthetic, write_mat):
    model = load_morphable_model(write_mat(synthetic))
    assert model.name == "bfm2009" and model.expression_basis.shape[1] == 0
    identity = np.linspace(-1, 1, 8)
    np.testing.assert_allclose(
        model.vertices(identity, np.zeros(0)) / 1000, expected_shape(synthetic, identity, np.zeros(4)), atol=1e-2
    )
    # The file winds its triangles the other way; outwards is what counts.
    np.testing.assert_array_equal(np.sort(model.triangles), np.sort(synthetic.triangles))
    assert (vertex_normals(model.mean.astype(float), model.triangles)[:, 2] < 0).mean() > 0.9
    assert load_morphable_model(write_mat(synthetic, expressions=True)).expression_std.shape == (4,)


def test_one_identity_serves_many_expressions(synthetic, write_h5):
    model = load_morphable_model(write_h5(synthetic))
    expression = np.random.default_rng(0).normal(size=(3, 4))
    together = model.vertices(np.ones(3), expression)
    assert together.shape == (3, len(synthetic.mean), 3) and together.dtype == np.float32
    for shape, one in zip(together, expression):
        np.testing.assert_allclose(shape, model.vertices(np.ones(3), one), atol=1e-3)


@pytest.mark.parametrize(
    "content, found",
    [
        (b"", "an empty file"),
        (b"not a model at all", "begins with"),
        (pickle.dumps({"shapeMU": [1.0]}), "a pickle"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 200, "HDF5"),
        (b"PK\x03\x04" + b"\0" * 200, "archive"),
        (b"MATLAB 5.0 MAT-file" + b"\0" * 300, "MATLAB"),
    ],
)
def test_other_files_are_refused(tmp_path, content, found):
    path = tmp_path / "model.h5"
    path.write_bytes(content)
    with pytest.raises(InputError, match=found) as error:
        load_morphable_model(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_missing_file_and_folder_are_refused(tmp_path):
    for path in (tmp_path / "nowhere.h5", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            load_morphable_model(path)


@pytest.mark.parametrize("share", [0.002, 0.05, 0.3, 0.6, 0.95])
def test_truncated_files_are_refused(synthetic, write_h5, write_mat, share, tmp_path):
    archive = tmp_path / "whole.npz"
    np.savez(archive, neutral=synthetic.mean, identity=np.zeros((2, 9, 3)), expression=np.zeros((2, 9, 3)))
    for whole in (write_h5(synthetic), write_mat(synthetic), archive):
        data = whole.read_bytes()
        path = tmp_path / whole.name
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InputError):
            load_morphable_model(path)


def test_absurd_sizes_are_refused_before_they_are_read(synthetic, write_h5, tmp_path):
    h5py = pytest.importorskip("h5py")
    large = write_h5(synthetic)
    with h5py.File(large, "a") as file:
        del file["shape/model/mean"]
        file.create_dataset("shape/model/mean", (1 << 40,), np.float32)  # takes no room in the file
    with pytest.raises(InputError, match="an array of 4096 GiB"):
        load_morphable_model(large)
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w") as archive, archive.open("neutral.npy", "w", force_zip64=True) as member:
        member.write(b"x")
    data = bytearray(bomb.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    bomb.write_bytes(data)
    with pytest.raises(InputError, match="an array of 4 GiB"):
        load_morphable_model(bomb)


def test_damaged_bytes_never_end_in_another_error(synthetic, write_h5, write_mat, tmp_path):
    rng = np.random.default_rng(0)
    for whole in (write_h5(synthetic), write_mat(synthetic)):
        data = np.frombuffer(whole.read_bytes(), np.uint8)
        path = tmp_path / whole.name
        for _ in range(25):
            damaged = data.copy()
            where = rng.integers(min(len(data), 4000), size=30)
            damaged[where] = rng.integers(256, size=30)
            path.write_bytes(damaged.tobytes())
            try:
                load_morphable_model(path)
            except InputError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("group", ["shape/model/mean", "shape/model/pcaBasis", "shape/representer/cells"])
def test_h5_without_a_group_is_refused(synthetic, write_h5, group):
    with pytest.raises(InputError, match="shape/model"):
        load_morphable_model(write_h5(synthetic, drop=(group,)))


@pytest.mark.parametrize(
    "key, value",
    [
        ("shape/model/pcaBasis", np.zeros((30, 8), np.float32)),
        ("shape/model/pcaBasis", np.full((30, 8), np.nan, np.float32)),
        ("shape/model/pcaVariance", np.full(3, 2.0, np.float32)),
        ("shape/model/pcaVariance", np.full(8, -1.0, np.float32)),
        ("shape/model/pcaVariance", np.full(8, np.nan, np.float32)),
        ("shape/model/mean", np.zeros(31, np.float32)),
        ("expression/model/mean", np.zeros(30, np.float32)),
        ("expression/model/pcaBasis", np.zeros((30, 4), np.float32)),
        ("shape/representer/cells", np.full((3, 50), 10**6, np.int32)),
        ("shape/representer/cells", np.full((3, 50), -1, np.int32)),
        ("shape/representer/cells", np.zeros((0,), np.int32)),
    ],
)
def test_h5_of_wrong_shape_is_refused(synthetic, write_h5, key, value):
    with pytest.raises(InputError, match="expected") as error:
        load_morphable_model(write_h5(synthetic, change={key: value}))
    assert "\n" not in str(error.value)


def test_mat_of_something_else_is_refused(synthetic, write_mat):
    with pytest.raises(InputError, match="no shapePC, tl"):
        load_morphable_model(write_mat(synthetic, shapePC=None, tl=None))
    with pytest.raises(InputError, match="triangles"):
        load_morphable_model(write_mat(synthetic, tl=np.zeros((10, 3))))
    with pytest.raises(InputError, match="expected"):
        load_morphable_model(write_mat(synthetic, shapePC=np.zeros((5, 2))))


@pytest.mark.parametrize("empty", ["identity", "expression"])
def test_npz_without_directions_is_refused(tmp_path, synthetic, empty):
    arrays = {name: np.zeros((2, len(synthetic.mean), 3)) for name in ("identity", "expression")}
    arrays[empty] = arrays[empty][:0]
    np.savez(tmp_path / "head.npz", neutral=synthetic.mean, faces=synthetic.triangles, **arrays)
    with pytest.raises(InputError, match="expected identity and expression"):
        load_morphable_model(tmp_path / "head.npz")


def test_npz_is_read_without_pickles(tmp_path, synthetic):
    bases = [b.T.reshape(b.shape[1], -1, 3) for b in (synthetic.identity, synthetic.expression)]
    path = tmp_path / "head.npz"
    arrays = dict(neutral=synthetic.mean, identity=bases[0], expression=bases[1], faces=synthetic.triangles)
    np.savez(path, **arrays)
    model = load_morphable_model(path)
    assert model.name == "ict"
    np.testing.assert_allclose(model.mean, synthetic.ours, atol=1e-3)
    np.savez(path, **(arrays | {"neutral": np.array([{"run": "me"}], object)}))
    with pytest.raises(InputError, match="pickles"):
        load_morphable_model(path)
    np.savez(path, **(arrays | {"neutral": synthetic.mean.astype(str)}))
    with pytest.raises(InputError):
        load_morphable_model(path)
    np.savez(path, neutral=synthetic.mean)
    with pytest.raises(InputError, match="found no identity, expression, faces"):
        load_morphable_model(path)


def test_landmarks_land_on_their_own_vertices(synthetic, write_h5, write_mat):
    """The model is a bent reference face, so that the right answer is known; without named landmarks as well."""
    topology = load_topology("mediapipe478")
    for path, unit in ((write_h5(synthetic), 1), (write_mat(synthetic), 1000)):
        model = load_morphable_model(path)
        found = Correspondence(model)
        points = found.landmark_points(topology)
        np.testing.assert_array_equal(points.index, synthetic.known)
        apart = np.linalg.norm(points.gather(model.mean) / unit - synthetic.ours[points.index], axis=1) / 90
        assert np.median(apart) < 0.02 and np.quantile(apart, 0.95) < 0.06
        assert abs(found.eye_distance / unit - np.linalg.norm(synthetic.ours[33] - synthetic.ours[263])) < 4


def test_landmarks_of_the_68_points(synthetic, write_h5):
    topology = load_topology("ibug68")
    model = load_morphable_model(write_h5(synthetic))
    points = Correspondence(model).landmark_points(topology)
    place = dict(zip(points.index, points.gather(model.mean)))
    for index, vertex in ((36, 33), (45, 263), (30, 1), (48, 61), (54, 291)):
        assert np.linalg.norm(place[index] - synthetic.ours[vertex])[()] / 90 < 0.15
    # The jaw is the outline, the person's right side first.
    np.testing.assert_array_equal(points.side != 0, points.index < 17)
    assert (points.side[points.index < 8] == -1).all()


def test_surface_that_is_no_face_is_refused(synthetic):
    rng = np.random.default_rng(0)
    box = rng.uniform(-1, 1, (3000, 3)).astype(np.float32)
    triangles = rng.integers(3000, size=(6000, 3)).astype(np.int32)
    basis, none = np.ones((9000, 1), np.float32), np.zeros((9000, 0), np.float32)
    model = MorphableModel("noise", box, basis, np.ones(1), none, np.zeros(0), triangles)
    with pytest.raises(InputError, match="face"):
        Correspondence(model).landmark_points(load_topology("mediapipe478"))


def test_names_are_lazy():
    code = "import sys, attributes.stickers.morphable as m; assert m.MorphableMesher and m.load_morphable_model; "
    code += "print([x for x in ('torch', 'h5py', 'cv2', 'mediapipe') if x in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
