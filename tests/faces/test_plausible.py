"""Implausible faces are dropped, and the topology of the 68 points is a face."""

import json
from importlib.resources import files

import numpy as np
import pytest

from toolkit.faces import Face, load_topology
from toolkit.faces.ibug import IBUG68_FROM_MEDIAPIPE, ibug68
from toolkit.faces.plausible import plausible_faces


def test_order_and_what_is_kept(face_at):
    near, far = face_at(300, 300, 100), face_at(700, 300, 40)
    assert plausible_faces([far, near], (600, 1000)) == [near, far]


@pytest.mark.parametrize("place", [(300, 300, 3), (-400, 300, 100), (300, 5000, 100), (1070, 300, 100)])
def test_tiny_and_lost_faces_are_dropped(face_at, place):
    assert plausible_faces([face_at(*place)], (600, 1000)) == []


def test_half_visible_face_is_kept(face_at):
    assert len(plausible_faces([face_at(1000, 300, 100)], (600, 1000))) == 1


def test_face_found_twice_is_one(face_at):
    assert len(plausible_faces([face_at(300, 300), face_at(305, 302)], (600, 1000))) == 1
    assert len(plausible_faces([face_at(300, 300), face_at(520, 302)], (600, 1000))) == 2


def test_face_with_nan_is_dropped(face_at):
    face = face_at(300, 300)
    face.landmarks[3] = np.nan
    assert plausible_faces([Face(face.box, 1.0, face.landmarks)], (600, 1000)) == []


def test_shipped_ibug68_matches_the_code():
    shipped = json.loads((files("toolkit.faces") / "data" / "ibug68.json").read_text())
    assert shipped == json.loads(json.dumps(ibug68()))


def test_ibug68_is_a_face():
    topology = load_topology("ibug68")
    assert topology.count == 68 and len(topology.triangles) == 0 and np.isnan(topology.uv).all()
    assert sorted(np.concatenate(list(topology.regions.values()))) == list(range(68))
    middle = {name: topology.mean[points].mean(axis=0) for name, points in topology.regions.items()}
    assert middle["right_eye"][0] < middle["nose"][0] < middle["left_eye"][0]
    assert middle["left_brow"][1] < middle["left_eye"][1] < middle["lips"][1] < topology.mean[8, 1]
    assert np.linalg.norm(topology.mean[45] - topology.mean[36]) == pytest.approx(1.0, abs=1e-3)


def test_table_agrees_with_the_regions_of_both_topologies():
    mesh, points = load_topology("mediapipe478"), load_topology("ibug68")
    assert len(set(IBUG68_FROM_MEDIAPIPE.tolist())) == 68
    for name in ("left_eye", "right_eye", "lips", "lips_inner", "left_brow", "right_brow"):
        assert set(IBUG68_FROM_MEDIAPIPE[points.regions[name]]) <= set(mesh.regions[name].tolist()), name
