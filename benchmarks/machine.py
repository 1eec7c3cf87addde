"""Description of the machine, for the tables."""

from __future__ import annotations

import os
import platform


def machine() -> str:
    return f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def load() -> str:
    return ", ".join(f"{value:.2f}" for value in os.getloadavg())
