"""``python -m extend`` is the command `extend`."""

import sys

from extend.cli.main import main

sys.exit(main())
