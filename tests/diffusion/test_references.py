import pytest

from toolkit.diffusion import reference_indices
from toolkit.errors import UsageError


@pytest.mark.parametrize(
    ("policy", "count", "expected"),
    [
        ("first+middle", 16, [0, 8]),
        ("first+middle", 41, [0, 20]),
        ("first+middle", 3, [0, 1]),
        ("first+middle", 2, [0, 1]),
        ("first+middle", 1, [0]),
        ("first", 9, [0]),
        ("uniform:2", 16, [0, 8]),
        ("uniform:4", 16, [0, 4, 8, 12]),
        ("uniform:3", 10, [0, 3, 6]),
        ("uniform:5", 3, [0, 1, 2]),
        ("uniform:1", 7, [0]),
        ("0,7,15", 16, [0, 7, 15]),
        ("7, 0,7", 16, [7, 0]),
        ("3", 4, [3]),
    ],
)
def test_policies(policy, count, expected):
    assert reference_indices(policy, count) == expected


@pytest.mark.parametrize("count", range(1, 30))
@pytest.mark.parametrize("policy", ["first+middle", "first", "uniform:1", "uniform:6", "uniform:400"])
def test_indices_are_distinct_and_exist(policy, count):
    indices = reference_indices(policy, count)
    assert len(set(indices)) == len(indices) and indices[0] == 0 and max(indices) < count


@pytest.mark.parametrize(
    "policy", ["", "last", "uniform", "uniform:", "uniform:-1", "uniform:x", "1,,2", "-1", "1.5", "0;7"]
)
def test_bad_policies_are_explained(policy):
    with pytest.raises(UsageError, match=r"first\+middle.*uniform:K"):
        reference_indices(policy, 8)


def test_numbers_out_of_range():
    with pytest.raises(UsageError, match="frame 8 does not exist in a clip of 8 frames"):
        reference_indices("0,8", 8)
    with pytest.raises(UsageError, match="at least 1"):
        reference_indices("uniform:0", 8)
