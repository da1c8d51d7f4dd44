"""Several threads on one pipeline: a short run of benchmarks.load, and that it can fail."""

import numpy as np
import pytest

from benchmarks.load import differs, hooks_left, load
from emotion.pipeline import EmotionPipeline


def test_no_error_and_no_answer_that_differs(pipeline: EmotionPipeline) -> None:
    found = load(pipeline, threads=4, requests=12, rounds=3)
    assert found["errors"] == []
    assert found["different"] == []
    assert found["hooks_left"] == 0
    assert found["requests"] == 48
    assert found["kinds"] == 61
    assert len(found["memory_mb"]) == 3


def test_a_hook_would_be_seen(pipeline: EmotionPipeline) -> None:
    module = next(pipeline.model.network.modules())
    hook = module.register_forward_hook(lambda *_: None)
    try:
        assert hooks_left(pipeline.model) == 1
    finally:
        hook.remove()
    assert hooks_left(pipeline.model) == 0


@pytest.mark.parametrize(
    ("other", "wanted"),
    [(np.ones(3), False), (np.array([1, 1, 1.01]), True), (np.ones(4), True)],
)
def test_answers_that_differ_are_seen(other: np.ndarray, wanted: bool) -> None:
    assert differs(np.ones(3), other) is wanted
