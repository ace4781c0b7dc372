"""Types that several rooms share."""

import os

PathLike = str | os.PathLike[str]
"""A path of a file or folder, as the standard library takes it."""
