"""Entities of a node that another thread spins, made away with where nobody waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def destroy(node: Any, *entities: Any) -> None:
    """Destroys clients, publishers or subscriptions of a node in the thread that spins it, between two waits.

    Destroyed by another thread, they are sometimes still in the wait set of that moment, whose next look at them is an
    InvalidHandle in the executor.
    """
    kinds: dict[str, Callable[[Any], Any]] = {
        "Client": node.destroy_client,
        "Publisher": node.destroy_publisher,
        "Subscription": node.destroy_subscription,
    }
    done = threading.Event()

    def work() -> None:
        try:
            for entity in entities:
                kinds[type(entity).__name__](entity)
        finally:
            done.set()

    node.executor.create_task(work)
    assert done.wait(20.0), "the executor does not spin"
