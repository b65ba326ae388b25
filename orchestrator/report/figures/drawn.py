"""What a figure hands over: the drawing, and the words that go with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps

from matplotlib.figure import Figure

from orchestrator.report.tables import Tables


@dataclass(frozen=True, eq=False)
class Drawn:
    """A figure with its words, all plain text.

    ``name`` is that of its files, without suffix. ``caption`` says what is seen and how it was
    selected, ``alternative`` what the drawing shows to a person who does not see it.
    """

    name: str
    title: str
    caption: str
    alternative: str
    figure: Figure

    def words(self) -> dict[str, str]:
        """All but the drawing."""
        return {
            "name": self.name,
            "title": self.title,
            "caption": self.caption,
            "alternative": self.alternative,
        }


class NothingToDrawError(Exception):
    """A figure without data; its text says what is missing."""


Draw = Callable[[Tables], Iterator[Drawn]]


def some(missing: str) -> Callable[[Draw], Draw]:
    """Have what draws figures raise NothingToDrawError, with this text, where it drew none."""

    def decorate(draw: Draw) -> Draw:
        @wraps(draw)
        def drawn(tables: Tables) -> Iterator[Drawn]:
            nothing = True
            for one in draw(tables):
                nothing = False
                yield one
            if nothing:
                raise NothingToDrawError(missing)

        return drawn

    return decorate
