"""When a person had taken over, by the controller's word, and what of a bag shall be exported because of that."""

from __future__ import annotations

from typing import Literal

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.moved import MovedBag
from smolvla_ros.bags.reader import Bag

from .episodes import Unwanted

Interventions = Literal["keep", "cut", "only"]

_CUT = "a person had taken over, and interventions are not asked for"
_ONLY = "no person had taken over, and only interventions are asked for"


def intervention_spans(bag: Bag | MovedBag, topic: str | None) -> list[tuple[int, int]]:
    """(begin, end) in ns of log time: from the first status that tells of one to the first that does not."""
    spans: list[tuple[int, int]] = []
    began_ns: int | None = None
    for recorded in bag.read([topic]) if topic else ():
        try:
            taken = bool(getattr(recorded.message, "intervention", False))  # bags of before have no such field
        except BagError:
            continue  # what is missing is told by the reader's defects
        if taken and began_ns is None:
            began_ns = recorded.log_ns
        elif not taken and began_ns is not None:
            spans.append((began_ns, recorded.log_ns))
            began_ns = None
    return spans if began_ns is None else [*spans, (began_ns, bag.end_ns)]


def unwanted(choice: Interventions, bag: Bag | MovedBag, topic: str | None) -> Unwanted | None:
    """What shall be in no episode, by the status on `topic`; None if everything may be."""
    if choice == "keep":
        return None
    spans = intervention_spans(bag, topic)
    if choice == "cut":
        return Unwanted(spans, _CUT)
    begins = [bag.start_ns, *(end_ns + 1 for _, end_ns in spans)]
    ends = [*(begin_ns - 1 for begin_ns, _ in spans), bag.end_ns]
    return Unwanted(list(zip(begins, ends, strict=True)), _ONLY)
