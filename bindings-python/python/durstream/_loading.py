"""Says in words why the native module cannot be loaded here. An older Python reads this file, too."""

from __future__ import annotations

import os
import sys

OLDEST = (3, 9)


def why_not() -> str:
    """What this machine is, what the installed package is for, and what to do."""
    import platform  # here alone: nothing else needs it

    here = f"{sys.platform} {platform.machine()}"
    if sys.platform == "linux":
        here += f" with {' '.join(platform.libc_ver()).strip() or 'musl'}"
    here += f", {platform.python_implementation()} {platform.python_version()}"
    folder = os.path.dirname(os.path.abspath(__file__))
    ends = (".so", ".pyd", ".dylib")
    found = [n for n in os.listdir(folder) if n.startswith("_durstream.") and n.endswith(ends)]
    holds = ", ".join(sorted(found)) or "none"
    return (
        f"durstream: its native module cannot be loaded on {here}; the installed package has {holds}. "
        "A package that was installed on another platform, or copied from there, has to be installed "
        "again here: pip install --force-reinstall --no-cache-dir durstream"
    )


if sys.version_info[:2] < OLDEST:
    raise ImportError(
        f"durstream needs Python {OLDEST[0]}.{OLDEST[1]} or newer, and this is Python "
        f"{'.'.join(map(str, sys.version_info[:3]))}: run it with a newer one"
    )
