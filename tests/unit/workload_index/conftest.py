"""Imports that these tests would otherwise pay for inside their two seconds."""

import pandas as pd  # noqa: F401 - pyarrow loads it at its first conversion
