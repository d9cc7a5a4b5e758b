"""What can go wrong with a bag."""

from __future__ import annotations


class BagError(ValueError):
    """A bag, a topic or a message that cannot be used; the text names it and says what to do."""
