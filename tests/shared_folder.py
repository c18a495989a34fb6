"""The folder of the data that is shared next to the project."""

import os
from pathlib import Path

SHARED = Path(os.environ.get("TAGWISE_SHARED", Path(__file__).parents[1].parent / "shared"))
