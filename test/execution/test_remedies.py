"""What to do about each hold: nothing is left without a word, and the documentation has the same table."""

from smolvla_ros.execution.remedies import WHAT_TO_DO, table, what_to_do
from smolvla_ros.execution.status import Reason


def test_every_reason_has_something_to_do():
    assert set(WHAT_TO_DO) == set(Reason)
    assert what_to_do("tracking_error") == WHAT_TO_DO[Reason.TRACKING_ERROR]
    assert what_to_do("unheard of") == ""


def test_the_documentation_has_the_same_table(repository):
    assert table() in (repository / "docs" / "how_to" / "holds.md").read_text()
