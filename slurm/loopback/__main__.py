"""`python slurm/loopback`: the folder is found as a package, whatever the working folder is."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from loopback.command import main  # noqa: E402

sys.exit(main())
