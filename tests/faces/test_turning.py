"""How far heads are turned."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from toolkit.faces.topology import load_topology
from toolkit.faces.turning import turns


@pytest.mark.parametrize("name", ["mediapipe478", "ibug68"])
@pytest.mark.parametrize("columns", [2, 3])
def test_known_turns(name, columns):
    mean = load_topology(name).mean.astype(np.float64)
    turned = Rotation.from_euler("yxz", [(0, 0, 0), (40, 0, 0), (0, -25, 0), (0, 0, 90), (70, 10, -20)], degrees=True)
    heads = np.stack([(one.apply(mean) * 80 + 200)[:, :columns] for one in turned])
    np.testing.assert_allclose(turns(heads, mean), np.degrees(turned.magnitude()), atol=1e-6)


def test_none():
    assert turns(np.zeros((0, 478, 3)), load_topology("mediapipe478").mean).shape == (0,)
