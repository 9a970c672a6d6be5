"""Lets `python -m kopt` do what the command `kopt` does."""

import sys

from kopt.cli import main

if __name__ == "__main__":
    sys.exit(main())
