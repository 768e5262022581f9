# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import sys
from pathlib import Path

# A lab cluster of its own, whatever the environment says: it is taken down at the end.
os.environ.update({"LAB_NAME": "servicemesh-bench", "LAB_PORT": "18733"})
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.cli import main  # noqa: E402

sys.exit(main())
