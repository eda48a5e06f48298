from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from saccade.models.interface import select_sentences


@given(st.integers(1, 4), st.integers(1, 3), st.data())
def test_the_sentences_that_rows_keep_are_found(sentences: int, hypotheses: int, data: st.DataObject) -> None:
    kept = sorted(data.draw(st.sets(st.integers(0, sentences - 1), min_size=1)))
    width = data.draw(st.integers(1, 3))
    rows = [[s * hypotheses + data.draw(st.integers(0, hypotheses - 1)) for _ in range(width)] for s in kept]
    found = select_sentences(torch.tensor(rows), sentences=sentences, hypotheses=hypotheses)
    if len(kept) == sentences:
        assert found is None
    else:
        assert found is not None
        assert found.tolist() == kept
