"""What a figure hands over: the drawing, and the words that go with it."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure


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
