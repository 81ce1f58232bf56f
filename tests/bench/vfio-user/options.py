# What the command line of scripts/bench has asked for.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Options that several benchmarks look at."""

from pathlib import Path
from typing import Optional


class Options:
    """Sizes, and where the results go; scripts/bench sets them once."""
    long = False
    build: Optional[Path] = None

    @property
    def state_size(self) -> int:
        """Bytes of device data saved, loaded, or migrated at once."""
        return 1 << 30 if self.long else 256 << 20


options = Options()
