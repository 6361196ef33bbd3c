"""The build backend at the root of a clone: `pip install .` there builds the package in python/.

Every hook of PEP 517 and PEP 660 runs scikit-build-core's in that folder.
"""

import os
from pathlib import Path

os.chdir(Path(__file__).parent.parent)

from scikit_build_core.build import *  # noqa: E402, F403
