"""A replay as one HTML page that needs nothing else: no network, no other file, no server.

`page` gathers what the template shows, `figures` draws with plotly, `timeline` and `pictures` make the rest.
"""

from .page import write_report

__all__ = ["write_report"]
