"""ArcFace models: how one is found, its input, and files that are refused."""

import numpy as np
import pytest

from toolkit.errors import InputError, MissingExtra
from toolkit.evaluate.arcface import ArcFace, find_arcface
from toolkit.evaluate.identity import align, five_points

pytest.importorskip("onnxruntime")


def field(number, value):
    """One field of a protobuf message: a whole number, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value):
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def tensor(name, shape):
    """A ValueInfoProto of floats; a text in the shape is a variable size."""
    dims = b"".join(field(1, field(1, size) if isinstance(size, int) else field(2, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def model_of_means(shape, inputs=("data",), name="x"):
    """ONNX whose embedding is the mean of each channel: GlobalAveragePool, then Flatten."""
    nodes = (("GlobalAveragePool", inputs[0], "pooled"), ("Flatten", "pooled", "embedding"))
    graph = b"".join(field(1, field(1, one) + field(2, out) + field(4, kind)) for kind, one, out in nodes)
    graph += field(2, name) + b"".join(field(11, tensor(one, shape)) for one in inputs)
    graph += field(12, tensor("embedding", (shape[0], 3)))
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))


@pytest.fixture
def crops():
    return np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)


@pytest.mark.parametrize("batch", ["N", 1, 2, 8])
def test_what_goes_in_and_what_comes_out(tmp_path, crops, batch):
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of_means((batch, 3, 112, 112)))
    crops[1] = (250, 20, 90)
    found = ArcFace(path).embed(crops)
    means = (crops.astype(np.float64).mean(axis=(1, 2)) - 127.5) / 127.5
    wanted = means / np.linalg.norm(means, axis=1, keepdims=True)
    assert found.dtype == np.float64 and np.allclose(found, wanted, atol=1e-5)
    assert np.array_equal(found, ArcFace(path).embed(crops))
    bgr, unit = crops[..., ::-1], crops / 255
    for wrong in (bgr.astype(np.float64).mean(axis=(1, 2)) / 127.5 - 1, unit.mean(axis=(1, 2))):
        wrong = wrong / np.linalg.norm(wrong, axis=1, keepdims=True)
        assert np.abs(found[1] - wrong[1]).max() > 0.1


def test_many_more_than_a_batch_are_embedded_as_one_by_one(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of_means(("N", 3, 112, 112)))
    crops = np.random.default_rng(1).integers(0, 256, (70, 112, 112, 3), dtype=np.uint8)
    arcface = ArcFace(path)
    assert np.allclose(arcface.embed(crops), np.concatenate([arcface.embed(crops[k : k + 1]) for k in range(70)]))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "cannot be read as an ONNX model"),
        (b"<html>log in</html>", "cannot be read as an ONNX model"),
        (model_of_means(("N", 3, 112, 112))[:60], "cannot be read as an ONNX model"),
        (model_of_means(("N", 3, 224, 224)), r"not an ArcFace model: expected one input .* found tensor\(float\)"),
        (model_of_means(("N", 3, 112, 112), ("one", "two")), "found 2 inputs"),
    ],
)
def test_other_files_are_refused(tmp_path, data, sentence):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(InputError, match=sentence) as error:
        ArcFace(path)
    assert len(str(error.value).splitlines()) == 1 and str(path) in str(error.value)


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"vlasik-toolkit\[identity\]"):
        ArcFace(tmp_path / "model.onnx")


def test_where_models_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path / "home"))
    assert find_arcface() is None
    named = tmp_path / "own.onnx"
    with pytest.raises(InputError, match="expected an ArcFace model"):
        find_arcface(named)
    named.touch()
    assert find_arcface(named) == named
    models = tmp_path / "home" / "models"
    for pack, name in (
        ("buffalo_s", "w600k_mbf.onnx"),
        ("antelopev2", "glintr100.onnx"),
        ("buffalo_l", "w600k_r50.onnx"),
    ):
        (models / pack).mkdir(parents=True)
        (models / pack / name).touch()
        assert find_arcface() == models / pack / name, "the better one wins"


def test_real_faces(shared):
    from toolkit.faces import create_analyser
    from toolkit.video import read_frames

    arcface = ArcFace(shared("weights/mobilefacenet_pixamatch.onnx"))
    embeddings = []
    for name in ("faces/liveportrait_driving_d0.mp4", "faces/keep_real_1.mp4", "faces/talking_Pose_Source_00473.mp4"):
        analyser, crops = create_analyser("mediapipe"), []
        for frame in read_frames(shared(f"media/{name}")):
            if frame.index in (0, 20, 40):
                points = five_points(analyser.analyse(frame.image)[0].landmarks, analyser.topology)
                crops.append(align(frame.image, points))
            if frame.index == 40:
                break
        embeddings.append(arcface.embed(np.stack(crops)))
    for one in range(3):
        for other in range(3):
            cosines = embeddings[one] @ embeddings[other].T
            assert cosines.min() > 0.6 if one == other else cosines.max() < 0.4
