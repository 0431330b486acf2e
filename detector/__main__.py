"""`python -m detector`: the same as the `detector` command."""

import sys

from detector.cli import main

if __name__ == "__main__":
    sys.exit(main())
