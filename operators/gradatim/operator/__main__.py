"""`python -m gradatim.operator`: the process of the control plane. Settings come from the environment."""

import os
import sys

from gradatim.operator.main import main

sys.exit(main(os.environ))
