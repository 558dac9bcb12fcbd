"""``typing``, as type checkers know it."""

from typing import *
