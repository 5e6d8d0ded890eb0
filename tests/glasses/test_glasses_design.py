"""Glasses as people wear them, and their meshes."""

from collections import Counter
from typing import get_args

import numpy as np
import pytest
import trimesh
from pydantic import ValidationError
from scipy.spatial import cKDTree

from attributes.glasses.design import GlassesDesign, LensDesign, Style, random_design
from attributes.glasses.geometry import PARTS, glasses_mesh
from attributes.glasses.shapes import outline

LENS = PARTS.index("lens")
STYLES = get_args(Style)


def crossings(points):
    """Pairs of sides of a closed polygon that cross."""
    a, b = points, np.roll(points, -1, axis=0)

    def turn(p, q, r):
        return np.sign(
            (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])
        )

    p, q, r, s = a[:, None], b[:, None], a[None], b[None]
    return int(((turn(p, q, r) * turn(p, q, s) < 0) & (turn(r, s, p) * turn(r, s, q) < 0)).sum())


@pytest.mark.parametrize("style", STYLES)
def test_outlines_have_their_size_and_do_not_cross_themselves(style):
    points = outline(style, 52, 40)
    assert np.ptp(points, axis=0) == pytest.approx([52, 40], abs=1e-6)
    assert crossings(points) == 0
    assert np.linalg.norm(np.diff(points, axis=0), axis=1).max() < 5


def test_outlines_differ():
    shapes = {style: outline(style, 50, 40) for style in STYLES}
    for one in STYLES:
        for other in STYLES:
            if one < other:
                assert np.abs(shapes[one] - shapes[other]).max() > 0.3, (one, other)


def designs(count=25):
    return [random_design(np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("design", [GlassesDesign(), *designs()], ids=lambda d: f"{d.style}-{d.rim}-{d.material}")
def test_solids_are_closed_and_wound_outwards(design):
    mesh = glasses_mesh(design)
    lens = (mesh.part == LENS)[mesh.triangles[:, 0]]
    solid = trimesh.Trimesh(mesh.vertices, mesh.triangles[~lens], process=True)
    for piece in solid.split(only_watertight=False):
        assert piece.is_watertight and piece.volume > 0
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    facing = np.cross(b - a, c - a)
    size = np.linalg.norm(facing, axis=1)
    agrees = np.einsum("fk,fk->f", facing, mesh.normals[mesh.triangles].sum(axis=1)) > 0
    assert agrees[size > 1e-3].mean() > 0.97
    assert (facing[lens, 2] < 0).all()
    assert np.linalg.norm(mesh.normals, axis=1) == pytest.approx(1, abs=1e-4)
    assert 1500 < len(mesh.triangles) < 9000


def test_both_halves_mirror_each_other():
    mesh = glasses_mesh(GlassesDesign(style="aviator", bridge="double"))
    left, right = mesh.vertices[mesh.side == -1], mesh.vertices[mesh.side == 1]
    distance, _ = cKDTree(right).query(left * [-1, 1, 1])  # the points come in another order
    assert len(left) == len(right) and distance.max() < 1e-3


def test_sizes_are_in_millimetres():
    design = GlassesDesign(wrap=0, tilt=0, lens_width=50, lens_height=30, bridge_width=18)
    mesh = glasses_mesh(design)
    lens = mesh.vertices[(mesh.part == LENS) & (mesh.side == 1)]
    assert np.ptp(lens[:, :2], axis=0) == pytest.approx([50, 30], abs=0.2)
    assert lens[:, 0].min() == pytest.approx(9, abs=0.1)
    temple = mesh.vertices[mesh.part == PARTS.index("temple")]
    assert 110 < np.ptp(temple[:, 2]) < design.temple_length
    assert temple[:, 1].max() - temple[:, 1].min() > 15, "temples bend down behind the ear"
    assert mesh.vertices[mesh.part == PARTS.index("nose_pad"), 2].mean() > lens[:, 2].mean(), (
        "pads are on the nose's side"
    )


def test_tilt_leans_the_bottom_to_the_cheeks_and_wrap_the_sides_back():
    flat, bent = (glasses_mesh(GlassesDesign(tilt=tilt, wrap=wrap)) for tilt, wrap in ((0, 0), (12, 12)))
    low, high = (bent.vertices[(bent.part == LENS) & (np.sign(bent.uv[:, 1]) == s)] for s in (1, -1))
    assert low[:, 2].mean() > high[:, 2].mean() + 2
    outer = np.abs(flat.vertices[:, 0]) > 55
    lens = flat.part == LENS
    assert bent.vertices[lens & outer, 2].mean() > flat.vertices[lens & outer, 2].mean() + 4


@pytest.mark.parametrize(
    ("rim", "above", "below"), [("full", True, True), ("half", True, False), ("under", False, True)]
)
def test_rims(rim, above, below):
    mesh = glasses_mesh(GlassesDesign(rim=rim, tilt=0))
    y = mesh.vertices[mesh.part == PARTS.index("rim"), 1]
    assert (y.min() < -15) == above and (y.max() > 15) == below
    assert not (glasses_mesh(GlassesDesign(rim="rimless")).part == PARTS.index("rim")).any()


def test_random_designs_repeat_and_survive_json():
    for seed in range(40):
        design = random_design(np.random.default_rng(seed))
        assert design == random_design(np.random.default_rng(seed))
        assert GlassesDesign.model_validate_json(design.model_dump_json()) == design


def test_people_wear_mostly_plain_metal_and_dark_plastic():
    rng = np.random.default_rng(0)
    found = [random_design(rng, sunglasses=0.2) for _ in range(600)]
    kinds, rims = Counter(d.material for d in found), Counter(d.rim for d in found)
    assert 0.35 < kinds["metal"] / 600 < 0.7
    assert rims["full"] > 400 and rims["rimless"] > 20 and rims["half"] > 20
    assert 0.15 < sum(d.hides_eyes for d in found) / 600 < 0.25
    assert {d.style for d in found} == set(STYLES)
    assert all(d.rim_width < 2.5 and d.nose_pads for d in found if d.material == "metal")


def test_share_of_sunglasses():
    for share in (0.0, 1.0):
        assert all(random_design(np.random.default_rng(s), share).hides_eyes == bool(share) for s in range(60))


@pytest.mark.parametrize(
    "values", [{"lens_width": 5}, {"style": "heart"}, {"rim_width": 0}, {"wings": 2}, {"lens": {"power": 40}}]
)
def test_nonsense_is_refused(values):
    with pytest.raises(ValidationError):
        GlassesDesign(**values)


def test_lens_that_hides_eyes():
    assert not GlassesDesign().hides_eyes
    assert GlassesDesign(lens=LensDesign(transmission_top=0.1, transmission_bottom=0.3)).hides_eyes
