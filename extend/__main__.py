"""``python -m extend`` is the command `extend`."""

import sys

from extend.cli import main

sys.exit(main())
