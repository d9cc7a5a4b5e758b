from collections.abc import Sequence

import pytest
from bag_files import Message, messages_of
from simulated_bag import Event, Scene, recorded_events


@pytest.fixture(scope="session")
def events() -> Sequence[Event]:
    """A second of the simulated arm with tiny pictures."""
    return recorded_events(Scene(seconds=1.0, picture_size=(24, 24)))


@pytest.fixture(scope="session")
def messages(events) -> list[Message]:
    """What every bag of these events must give."""
    return messages_of(events)
