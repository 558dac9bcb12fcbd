"""Only the main interpreter of a process may import this package.

The library is one per process: the end of another interpreter would end the producers of all.
"""

from __future__ import annotations

import sys

from ._loading import why_not
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_TEXT = (
    "durstream works in the main interpreter of a process alone, not in a sub-interpreter: with "
    "mod_wsgi set `WSGIApplicationGroup %{GLOBAL}`"
)


def _is_main() -> bool:
    if sys.version_info >= (3, 12):
        return True  # the import of the native half fails where it is not
    try:
        # The only way to ask, in versions that do not change any more.
        interpreters: Any = __import__("_xxsubinterpreters")
    except ImportError:
        return True
    return int(interpreters.get_current()) == int(interpreters.get_main())


if not _is_main():
    raise ImportError(_TEXT)
try:
    from . import _durstream as _durstream
except ImportError as error:
    if "subinterpreter" not in str(error):
        raise ImportError(why_not(), name="durstream._durstream") from error
    raise ImportError(_TEXT) from None
