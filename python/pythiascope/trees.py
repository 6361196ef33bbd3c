"""stub"""

from .results import Result


class SpansResult(Result):
    pass
