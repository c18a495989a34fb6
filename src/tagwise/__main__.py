"""`python -m tagwise`, the same as `tagwise`."""

import sys

from tagwise.cli import main

sys.exit(main())
