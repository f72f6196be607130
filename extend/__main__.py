"""``python -m extend``: the command line."""

import sys

from extend.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
