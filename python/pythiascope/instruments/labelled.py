"""The instruments that have a verb of their own, as methods; verbs.py does what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .running import Instrumented

if TYPE_CHECKING:
    from ..results.results import Result


class Labelled(Instrumented):
    """Instruments over labelled sentences, word lists and weights."""

    def _weights(self, *given: Any) -> Result:
        from ..verbs.verbs import weights

        return weights(self, *given)

    def _forms(self, *given: Any) -> Result:
        from ..verbs.verbs import forms

        return forms(self, *given)

    def _words(self, *given: Any) -> Result:
        from ..verbs.verbs import words

        return words(self, *given)

    def _treebank(self, *given: Any) -> Result:
        from ..verbs.verbs import treebank

        return treebank(self, *given)

    def _directions(self, *given: Any) -> Result:
        from ..verbs.verbs import directions

        return directions(self, *given)

    def _probe(self, *given: Any) -> Result:
        from ..verbs.verbs import probe

        return probe(self, *given)
