"""stub"""

from __future__ import annotations
from .running import Instrumented


class Labelled(Instrumented):
    pass
