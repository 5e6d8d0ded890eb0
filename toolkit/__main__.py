"""``python -m toolkit`` is the same as ``toolkit``."""

import sys

from toolkit.cli import main

sys.exit(main())
