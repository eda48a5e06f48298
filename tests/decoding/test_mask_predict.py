"""Mask-predict against a loop written from the paper, and its laws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from saccade.decoding.nonautoregressive.mask_predict import decode_masked, refine
from saccade.decoding.nonautoregressive.options import MaskPredictDecoding
from saccade.decoding.rerank import Reranker
from tests.models.test_nonautoregressive import network
from tests.tiny import padded, scheme, sentences, transformer


def decode(model: Any, source: list[list[int]], reranker: Reranker | None = None, **options: Any) -> Any:
    settings = MaskPredictDecoding(**options)
    with torch.inference_mode():
        found = decode_masked(scheme(model), *padded(source), options=settings, reranker=reranker)
    return [one for [one] in found]


def by_hand(model: Any, source: list[int], length: int, rounds: int) -> tuple[list[int], list[float]]:
    """Ghazvininejad et al. 2019, section 3, one sentence, one word at a time."""
    memory = model.encode(*padded([source]))
    words, scores = [scheme(model).mask] * length, [0.0] * length
    for t in range(rounds):
        count = length if t == 0 else max(1, int(length * (rounds - t) / rounds))
        masked = sorted(range(length), key=lambda place: scores[place])[:count] if t else range(length)
        shown = [scheme(model).mask if place in masked else words[place] for place in range(length)]
        logits = model.output(scheme(model).write(torch.tensor([shown]), torch.tensor([length]), memory))[0]
        log_probs = logits.log_softmax(-1)
        for place in masked:
            allowed = [token for token in range(13) if token not in (0, 2, 3)]
            words[place] = max(allowed, key=lambda token: float(log_probs[place, token]))
            scores[place] = float(log_probs[place, words[place]])
    return words, scores


@pytest.mark.parametrize("rounds", [1, 2, 4, 10])
def test_rounds_equal_a_loop_written_from_the_paper(rounds: int) -> None:
    model, source, lengths = network("mask-predict"), sentences([6, 3]), [7, 4]
    with torch.no_grad():
        memory = model.encode(*padded(source))
        tokens, log_probs = refine(scheme(model), memory, torch.tensor(lengths), iterations=rounds)
        for row, (one, length) in enumerate(zip(source, lengths, strict=True)):
            words, scores = by_hand(model, one, length, rounds)
            assert tokens[row, :length].tolist() == words
            assert log_probs[row, :length].tolist() == pytest.approx(scores, abs=1e-5)


def test_one_round_is_writing_everything_at_once() -> None:
    model, source = network("mask-predict"), sentences([6, 3])
    with torch.no_grad():
        memory = model.encode(*padded(source))
        lengths = torch.tensor([5, 5])
        tokens, _ = refine(scheme(model), memory, lengths, iterations=1)
        logits = model.output(scheme(model).write(torch.full((2, 5), scheme(model).mask), lengths, memory))
        logits[..., [0, 2, 3]] = -torch.inf
    assert torch.equal(tokens, logits.argmax(-1))


def test_each_round_changes_masked_positions_only_and_no_mask_is_left() -> None:
    model, source = network("mask-predict", seed=2), sentences([8])
    seen: list[Tensor] = []
    decode = model.decode
    model.decode = lambda tokens, *rest, **named: (
        seen.append(tokens.clone()) or decode(tokens, *rest, **named)
    )
    with torch.no_grad():
        memory = model.encode(*padded(source))
        last, _ = refine(scheme(model), memory, torch.tensor([9]), iterations=5)
    assert [int((tokens == scheme(model).mask).sum()) for tokens in seen] == [9, 7, 5, 3, 1]
    for before, after in zip(seen[1:], [*seen[2:], last], strict=True):
        # Shown words stay, or are masked next; they are never rewritten in the same round.
        kept = (before != scheme(model).mask) & (after != scheme(model).mask)
        assert torch.equal(before[kept], after[kept])
    assert not bool((last == scheme(model).mask).any())


def test_the_best_of_the_likeliest_lengths_is_chosen_by_the_mean() -> None:
    model, source = network("mask-predict", seed=4), sentences([6])
    [best] = decode(model, source, candidates=5, iterations=3)
    with torch.no_grad():
        memory = model.encode(*padded(source))
        lengths = scheme(model).length_of(scheme(model).length_logits(memory).topk(5).indices, memory)[0]
        tried = [refine(scheme(model), memory, length[None], iterations=3) for length in lengths]
    means = [float(log_probs.double().mean()) for _, log_probs in tried]
    winner = means.index(max(means))
    assert best.tokens == tuple(tried[winner][0][0].tolist())
    assert best.score == pytest.approx(max(means), abs=1e-6)
    assert best.log_prob == pytest.approx(best.score * len(best.tokens), abs=1e-5)


def test_a_sentence_alone_and_in_a_batch_gives_the_same() -> None:
    model, source = network("mask-predict", seed=4), sentences([6, 3, 8])
    together = decode(model, source)
    assert [one.tokens for one in together] == [decode(model, [row])[0].tokens for row in source]


def test_a_judge_picks_the_length() -> None:
    model, source = network("mask-predict", seed=3), sentences([6, 4, 2])
    judge = Reranker(transformer(seed=5), "power", 1.0)
    judged = decode(model, source, reranker=judge, iterations=2, candidates=4)
    with torch.inference_mode():
        logits = scheme(model).length_logits(model.encode(*padded(source)))
        for one, row, likeliest in zip(judged, source, logits.topk(4).indices, strict=True):
            memory = model.encode(*padded([row])).select(torch.zeros(4, dtype=torch.int64))
            lengths = scheme(model).length_of(likeliest[None], model.encode(*padded([row]))).flatten()
            tokens, _ = refine(scheme(model), memory, lengths, iterations=2)
            own = [ids[:length].tolist() for ids, length in zip(tokens, lengths.tolist(), strict=True)]
            scores = judge.scores(*padded([row] * 4), own)
            assert one.score == pytest.approx(max(scores), abs=1e-5)
            assert list(one.tokens) == own[max(range(4), key=scores.__getitem__)]
