"""Importing the package loads nothing heavy."""

import subprocess
import sys


def test_import_is_light():
    heavy = "import sys, toolkit.video; print([m for m in ('av', 'cv2', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True).stdout.strip() == "[]"


def test_every_public_name_is_there():
    import toolkit.video

    assert all(getattr(toolkit.video, name) for name in toolkit.video.__all__)
