"""The fit finds known coefficients and poses, and the mesh that comes of it lies on real faces."""

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation

from attributes.stickers.generator import StickerPairs
from attributes.stickers.morphable import MorphableMesher, load_morphable_model
from attributes.stickers.morphable.fit import Prior, fit
from tasks.stickers import StickersOptions
from toolkit.faces import create_analyser
from toolkit.faces.topology import load_topology
from toolkit.task import FaceClip
from toolkit.testing import tools
from toolkit.video import crop, read_frames, square_region

FRAMES = 12


@pytest.fixture(scope="module")
def model(synthetic, write_h5):
    return load_morphable_model(write_h5(synthetic))


@pytest.fixture(scope="module")
def mesher(model):
    return MorphableMesher(model, noise=1e-4)


@pytest.fixture(scope="module")
def truth(model, posed):
    rng = np.random.default_rng(5)
    identity, expression = rng.normal(size=8) * 1.2, rng.normal(size=(FRAMES, 4))
    rotation, scale, translation = posed(FRAMES)
    shapes = model.vertices(identity, expression).astype(np.float64)
    placed = scale[:, None, None] * (shapes @ rotation.transpose(0, 2, 1)) + translation[:, None]
    return identity, expression, rotation, scale, placed


def clip_of(landmarks, frames=None):
    frames = np.zeros((len(landmarks), 16, 16, 3), np.uint8) if frames is None else frames
    return FaceClip(frames, landmarks.astype(np.float32), load_topology("mediapipe478"), np.arange(len(landmarks)) / 25)


def landmarks_at(points, placed):
    landmarks = np.zeros((len(placed), 478, 3))
    landmarks[:, points.index] = np.einsum("mc,tmci->tmi", points.weights, placed[:, points.vertices])
    return landmarks


def degrees_apart(a, b):
    return np.degrees(Rotation.from_matrix(a @ b.transpose(0, 2, 1)).magnitude())


def test_known_coefficients_are_recovered(mesher, truth):
    identity, expression, rotation, scale, placed = truth
    points = mesher.correspondence.landmark_points(load_topology("mediapipe478"))
    clip = clip_of(landmarks_at(points, placed))
    found = mesher.fit(clip)
    np.testing.assert_allclose(found.identity, identity, atol=0.01)
    np.testing.assert_allclose(found.expression, expression, atol=0.01)
    assert degrees_apart(found.rotation, rotation).max() < 0.02
    np.testing.assert_allclose(found.scale, scale, rtol=1e-3)
    assert found.error.max() < 0.01
    mesh = mesher.mesh(clip)
    np.testing.assert_allclose(mesh.vertices[..., :2], placed[:, mesher.correspondence.face, :2], atol=0.1)


def test_landmarks_at_their_true_vertices(model, truth):
    """Through the model's own correspondence, which knows nothing of these vertices."""
    *_, rotation, scale, placed = truth
    landmarks = np.zeros((FRAMES, 478, 3))
    landmarks[:, :468] = placed[:, :468]
    mesher = MorphableMesher(model)
    found = mesher.fit(clip_of(landmarks))
    eye = scale * mesher.correspondence.eye_distance
    assert degrees_apart(found.rotation, rotation).max() < 3
    assert (found.error / eye).max() < 0.03
    mesh = mesher.mesh(clip_of(landmarks))
    apart = (
        np.linalg.norm(mesh.vertices - placed[:, mesher.correspondence.face], axis=2)[..., None] / eye[:, None, None]
    )
    assert np.median(apart) < 0.03 and np.quantile(apart, 0.95) < 0.1


@pytest.mark.parametrize("depth", [True, False])
def test_noise_moves_them_little(model, mesher, truth, depth):
    identity, expression, rotation, scale, placed = truth
    points = mesher.correspondence.landmark_points(load_topology("mediapipe478"))
    landmarks = landmarks_at(points, placed)
    eye = mesher.correspondence.eye_distance
    landmarks += np.random.default_rng(1).normal(size=landmarks.shape) * (0.01 * eye * scale[:, None, None])
    if not depth:
        landmarks[..., 2] = 0
    found = fit(model, points, landmarks, eye)
    assert np.abs(found.identity - identity).max() < 0.15
    assert np.sqrt(((found.expression - expression) ** 2).mean()) < 0.25
    assert degrees_apart(found.rotation, rotation).max() < 0.5
    # Two coordinates of one percent each.
    np.testing.assert_allclose(found.error / (eye * scale), 0.01 * np.sqrt(2), rtol=0.15)


def test_misplaced_landmarks_do_not_spoil_the_fit(model, mesher, truth):
    identity, _, rotation, scale, placed = truth
    points = mesher.correspondence.landmark_points(load_topology("mediapipe478"))
    landmarks = landmarks_at(points, placed)
    wrong = np.random.default_rng(2).choice(468, 20, replace=False)
    landmarks[:, wrong, :2] += 0.3 * mesher.correspondence.eye_distance * scale[:, None, None]
    found = fit(model, points, landmarks, mesher.correspondence.eye_distance)
    assert np.abs(found.identity - identity).max() < 0.5
    assert degrees_apart(found.rotation, rotation).max() < 2


def test_one_frame_and_scrambled_landmarks_stay_bounded(model, mesher):
    points = mesher.correspondence.landmark_points(load_topology("mediapipe478"))
    eye = mesher.correspondence.eye_distance
    landmarks = np.random.default_rng(3).uniform(0, 400, (1, 478, 3))
    found = fit(model, points, landmarks, eye)
    for value in (found.identity, found.expression, found.rotation, found.scale, found.translation):
        assert np.isfinite(value).all()
    np.testing.assert_allclose(np.linalg.det(found.rotation), 1, atol=1e-6)
    still = fit(model, points, np.full((2, 478, 3), 7.0), eye)
    assert np.isfinite(still.identity).all() and np.isfinite(still.translation).all()


def test_a_model_without_expressions(synthetic, write_mat, truth):
    model = load_morphable_model(write_mat(synthetic))
    mesher = MorphableMesher(model, noise=1e-4)
    points = mesher.correspondence.landmark_points(load_topology("mediapipe478"))
    found = fit(model, points, landmarks_at(points, truth[-1]), mesher.correspondence.eye_distance)
    assert found.expression.shape == (FRAMES, 0)
    assert np.isfinite(found.identity).all() and degrees_apart(found.rotation, truth[2]).max() < 5


def test_a_prior_fills_in_what_landmarks_cannot_say(model, mesher, truth):
    identity, _, rotation, _, placed = truth
    points = mesher.correspondence.landmark_points(load_topology("mediapipe478"))
    landmarks = landmarks_at(points, placed)[:1]
    eye = mesher.correspondence.eye_distance
    told = fit(model, points, landmarks, eye, noise=1.0, prior=Prior(rotation[:1], identity))
    untold = fit(model, points, landmarks, eye, noise=1.0)
    assert np.abs(told.identity - identity).mean() < 0.5 * np.abs(untold.identity - identity).mean()


def test_mesh_keeps_the_contract(mesher, truth):
    *_, placed = truth
    points = mesher.correspondence.landmark_points(load_topology("mediapipe478"))
    landmarks = landmarks_at(points, placed)
    landmarks[3] = np.nan
    mesh = mesher.mesh(clip_of(landmarks))
    count = mesh.vertices.shape[1]
    assert mesh.vertices.dtype == np.float32 and mesh.triangles.dtype == np.int32
    assert np.isnan(mesh.vertices[3]).all() and np.isfinite(np.delete(mesh.vertices, 3, axis=0)).all()
    assert mesh.uv.shape == (count, 2) and mesh.rest.shape == (count, 3)
    assert mesh.uv.min() >= 0 and mesh.uv.max() <= 1 and mesh.triangles.max() < count
    assert set(mesh.regions) == {"left_eye", "right_eye", "lips", "left_brow", "right_brow", "oval", "nose"}
    eyes = [mesh.rest[mesh.regions[name], 0] for name in ("right_eye", "left_eye")]
    assert eyes[0].mean() < 0 < eyes[1].mean()
    np.testing.assert_allclose(eyes[1].max() - eyes[0].min(), 1, atol=0.02)
    a, b, c = (mesh.rest[mesh.triangles[:, k]] for k in range(3))
    assert (np.cross(b - a, c - a)[:, 2] < 0).mean() > 0.95
    # Depth: the tip of the nose is nearer than the eyes, in the pictures too.
    front = mesh.vertices[FRAMES // 2]
    assert front[mesh.regions["nose"], 2].min() < front[mesh.regions["left_eye"], 2].min()


def test_clip_without_the_face(mesher):
    mesh = mesher.mesh(clip_of(np.full((2, 478, 3), np.nan)))
    assert np.isnan(mesh.vertices).all() and np.isfinite(mesh.rest).all()


@pytest.fixture(scope="module")
def head(shared):
    return shared("weights/ict_face_head.npz")


@pytest.fixture(scope="module")
def real_clip(shared):
    frames = [frame.image for frame in read_frames(shared("media/faces/liveportrait_driving_d6.mp4"), stop=20)]
    analyser = create_analyser()
    faces = [analyser.analyse(frame)[0] for frame in frames]
    analyser.close()
    region = square_region(np.stack([face.box for face in faces]), frames[0].shape[:2], 1.6)
    factor = 384 / float(region[2] - region[0])
    landmarks = np.stack([face.landmarks for face in faces]) - np.array([region[0], region[1], 0], np.float32)
    return clip_of(landmarks * factor, np.stack([crop(frame, region, 384) for frame in frames]))


def test_a_real_head_lies_on_a_real_face(head, real_clip):
    mesher = MorphableMesher(load_morphable_model(head))
    found = mesher.fit(real_clip)
    eye = found.scale * mesher.correspondence.eye_distance
    print(f"reprojection error {found.error.mean():.2f} px, {eye.mean():.0f} px between the eye corners")
    assert (found.error / eye).mean() < 0.015
    assert np.abs(found.identity).max() < 5
    mesh = mesher.mesh(real_clip)
    # The scalp, the neck and what lies behind eyes and mouth are gone.
    assert len(mesh.triangles) < 12000 < len(mesher.model.triangles)
    # No holes but two eyes, the mouth and two nostrils, each all around its own middle, and the outline.
    edges = np.sort(np.concatenate([mesh.triangles[:, [0, 1]], mesh.triangles[:, [1, 2]], mesh.triangles[:, [2, 0]]]))
    edges, count = np.unique(edges, axis=0, return_counts=True)
    border = np.unique(edges[count == 1])
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(mesh.rest),) * 2).tocsr()[border][:, border]
    _, label = connected_components(graph, directed=False)
    assert np.sum(np.bincount(label) > 8) == 6
    topology = real_clip.topology
    for name in ("left_eye", "right_eye", "lips"):
        middle = mesh.vertices[:, mesh.regions[name], :2].mean(axis=1)
        seen = real_clip.landmarks[:, topology.regions[name], :2].mean(axis=1)
        assert (np.linalg.norm(middle - seen, axis=1) / eye).max() < 0.03, name
    low, high = mesh.vertices[..., :2].min(axis=1), mesh.vertices[..., :2].max(axis=1)
    seen_low, seen_high = (f(real_clip.landmarks[..., :2], axis=1) for f in (np.min, np.max))
    assert (np.abs(low - seen_low) / eye[:, None]).max() < 0.2
    assert (np.abs(high - seen_high) / eye[:, None]).max() < 0.2


def test_stickers_are_drawn_on_the_head(head, real_clip):
    made = list(
        StickerPairs(StickersOptions(face_model=head, degradation=0))(real_clip, np.random.default_rng(1), tools())
    )
    assert len(made) == len(real_clip)
    areas = np.array([pair.mask.sum() for pair in made])
    assert areas.min() > 0.5 * areas.max() > 200
    middles = np.array([np.argwhere(pair.mask).mean(axis=0)[::-1] for pair in made])
    # It moves as the skin does: the landmark nearest to it keeps its distance.
    near = np.linalg.norm(real_clip.landmarks[0, :468, :2] - middles[0], axis=1).argmin()
    drift = middles - real_clip.landmarks[:, near, :2]
    assert np.ptp(drift, axis=0).max() < 4
