"""Test helpers for plugin authors: clips that need no model, and the checks of `toolkit tasks check`.

Use them in a plugin's tests::

    from toolkit.testing import assert_conforms
    from my_package import MyTask

    def test_keeps_the_contract():
        assert_conforms(MyTask)
"""

from toolkit.testing.clips import no_face_clip, synthetic_clip, two_face_clips
from toolkit.testing.conformance import (
    Check,
    CheckResult,
    Subject,
    assert_conforms,
    check_task,
    conformance_checks,
    tools,
)
from toolkit.testing.drawn_dataset import drawn_dataset
from toolkit.testing.tiny_backbone import tiny_backbone
from toolkit.testing.tiny_remover import tiny_remover

__all__ = [
    "Check",
    "CheckResult",
    "Subject",
    "assert_conforms",
    "check_task",
    "conformance_checks",
    "drawn_dataset",
    "no_face_clip",
    "synthetic_clip",
    "tiny_backbone",
    "tiny_remover",
    "tools",
    "two_face_clips",
]
