"""`python -m mpsheads.cli` is the `mpsheads` script."""

from mpsheads.cli import main

main()
