"""Types that several rooms share."""

import os
from typing import Annotated

PathLike = str | os.PathLike[str]
"""A path of a file or folder, as the standard library takes it."""
Positive = Annotated[int, 1]
"""An integer of 1 at least, as `mpsheads._arrays.door` reads it."""
