"""Choose reference frames for cross-frame attention."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from toolkit.errors import UsageError

POLICIES = "`first+middle`, `first`, `uniform:K` or indices such as `0,7,15`"


def reference_indices(policy: str, count: int) -> list[int]:
    """The reference frames of a clip.

    ``first+middle`` (V-LASIK, section C.1) selects frames 0 and ``count // 2``. ``first`` selects frame 0.
    ``uniform:K`` selects the K frames ``i * count // K``, so ``uniform:2`` equals ``first+middle``. A list such as
    ``0,7,15`` selects these frames in this order. No frame is selected twice, even in clips shorter than K.

    Args:
        policy: one of these forms.
        count: frames in the clip, at least 1.

    Returns:
        Distinct indices in ``0..count - 1``. Shared noise comes from the first one.

    Raises:
        UsageError: the policy has another form, or an index is beyond the clip.
    """
    text = policy.strip()
    if text in ("first", "first+middle"):
        indices = [0] if text == "first" else [0, count // 2]
    elif match := re.fullmatch(r"uniform:(\d{1,6})", text):
        if (wanted := int(match[1])) < 1:
            raise UsageError("expected at least 1 frame in `uniform:K`, found 0")
        indices = [i * count // wanted for i in range(wanted)]
    elif re.fullmatch(r"\d{1,9}(\s*,\s*\d{1,9})*", text):
        indices = [int(part) for part in text.split(",")]
        if max(indices) >= count:
            raise UsageError(
                f"reference frame {max(indices)} does not exist in a clip of {count} frames, numbered from 0; "
                "use lower indices or `uniform:K`"
            )
    else:
        raise UsageError(f"unknown choice of reference frames {policy!r}; expected {POLICIES}")
    return list(dict.fromkeys(indices))


def shot_references(policy: str | None, count: int, cuts: Sequence[int] = ()) -> dict[int, list[int]]:
    """The reference frames of each shot, by the shot's first frame.

    Args:
        policy: as for `reference_indices`, applied to each shot. If None, the result is empty.
        count: frames in the clip.
        cuts: first frames of new shots.

    Raises:
        UsageError: as for `reference_indices`.
    """
    if policy is None:
        return {}
    edges = sorted({0, count, *(cut for cut in cuts if 0 < cut < count)})
    return {
        start: [start + index for index in reference_indices(policy, stop - start)] for start, stop in pairwise(edges)
    }
