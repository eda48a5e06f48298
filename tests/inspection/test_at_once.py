"""Attributions and rounds of non-autoregressive models: naive sums over paths, runs without a token."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise, product
from typing import Any

import pytest
import torch

from saccade.inspection.record import Inspection
from saccade.models.recording import record_attention
from saccade.nn import ctc, dag
from tests.inspection.records import LINE, NONAUTOREGRESSIVE, Words, at_once
from tests.tiny import END, START, scheme

TEXT = "5 7 4 6"
PATHS = ("ctc", "dag")


def inspected(name: str, text: str = TEXT, **options: Any) -> tuple[Any, Inspection]:
    own: Any = at_once(name, Words())
    own.decoder.network.double()
    return own, own.inspect(text, **options)


def values(found: Inspection, method: str) -> torch.Tensor:
    [value] = [one.values for one in found.attributions if one.method == method]
    return value


def ids(pieces: Sequence[str]) -> list[int]:
    return [int(piece) for piece in pieces]


@pytest.mark.parametrize("name", NONAUTOREGRESSIVE)
def test_every_scheme_has_log_probabilities_and_attributions_of_its_own_translation(name: str) -> None:
    own, found = inspected(name)
    assert found.output == own.translate([TEXT])[0].text
    output, source = found.tokens[found.written].pieces, found.tokens["source"].pieces
    assert found.written == ("output" if name in PATHS else "target")
    assert found.log_probs is not None and len(found.log_probs) == len(output)
    assert set(found.absent) == {"search"}
    for one in found.attributions:
        assert one.values.shape == (len(output), len(source))
        assert [row.kind for row in one.correlations] == ["cross", "cross"]
    assert bool(values(found, "gradient").isfinite().all())
    assert bool(values(found, "erasure")[:, -1].isnan().all())  # the end symbol cannot be left out
    assert bool(values(found, "erasure")[:, :-1].isfinite().any())


@torch.no_grad()
@pytest.mark.parametrize("name", PATHS)
def test_tokens_given_those_before_add_up_to_the_log_probability_of_the_target(name: str) -> None:
    own, found = inspected(name)
    assert found.log_probs is not None
    target = ids(found.tokens["output"].pieces)
    batch = own.padded([ids(found.tokens["source"].pieces)])
    [expected] = own.decoder.log_probs(*batch, [target])
    assert sum(found.log_probs) == pytest.approx(float(expected), abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", PATHS)
def test_erasure_adds_up_to_the_log_probabilities_of_two_runs(name: str) -> None:
    own, found = inspected(name)
    target, source = ids(found.tokens["output"].pieces), ids(found.tokens["source"].pieces)
    [whole] = own.decoder.log_probs(*own.padded([source]), [target])
    for place in range(len(source) - 1):
        [without] = own.decoder.log_probs(*own.padded([source[:place] + source[place + 1 :]]), [target])
        total = float(values(found, "erasure")[:, place].sum())
        if math.isinf(float(without)):
            assert math.isnan(total)
        else:
            assert total == pytest.approx(float(whole - without), abs=1e-4)


def fertility_log_probs(own: Any, source: Sequence[int], target: Sequence[int]) -> torch.Tensor:
    """By brute force: the likeliest fertilities of this sum, then each token at its position."""
    rule = scheme(own.decoder.network)
    memory = rule.body.encode(*own.padded([source]))
    logits = rule.logits(memory)[0, : len(source) - 1].log_softmax(-1)
    choices = product(range(len(target) + 1), repeat=len(source) - 1)
    best = max(
        (row for row in choices if sum(row) == len(target)),
        key=lambda row: sum(float(logits[place, count]) for place, count in enumerate(row)),
    )
    hidden, _ = rule.write(torch.tensor([[*best, 0]]), memory)
    log_probs = rule.body.output(hidden)[0].log_softmax(-1)
    return torch.stack([log_probs[place, token] for place, token in enumerate(target)])


@torch.no_grad()
def test_erasure_with_fertilities_equals_a_run_without_the_token() -> None:
    own, found = inspected("fertility", "5 7 4", target="8 6 9")
    source, target = ids(found.tokens["source"].pieces), ids(found.tokens["target"].pieces)
    whole = fertility_log_probs(own, source, target)
    torch.testing.assert_close(torch.tensor(found.log_probs, dtype=torch.float64), whole)
    for place in range(len(source) - 1):
        expected = whole - fertility_log_probs(own, source[:place] + source[place + 1 :], target)
        torch.testing.assert_close(values(found, "erasure")[:, place], expected)


@torch.no_grad()
def masked_log_probs(own: Any, source: Sequence[int], found: Inspection) -> torch.Tensor:
    """Each token in the round that wrote it, from what this round read, one pass at a time."""
    assert found.passes is not None
    rule = scheme(own.decoder.network)
    memory = rule.body.encode(*own.padded([source]))
    written = torch.zeros(len(found.passes.rounds[0].tokens), dtype=torch.float64)
    before = [START] * len(written)
    for one in found.passes.rounds:
        read = [START if wrote else old for wrote, old in zip(one.written, before, strict=True)]
        hidden = rule.write(torch.tensor([read]), torch.tensor([len(read)]), memory)
        log_probs = rule.body.output(hidden)[0].log_softmax(-1)
        for place, wrote in enumerate(one.written):
            if wrote:
                written[place] = log_probs[place, ids(found.tokens["target"].pieces)[place]]
        before = list(one.tokens)
    return written


def test_mask_predict_attributes_each_token_in_the_round_that_wrote_it() -> None:
    own, found = inspected("mask-predict", "5 7 4 6 8 9 5 4", iterations=3)
    assert found.passes is not None and len(found.passes.rounds) == 3 and found.log_probs is not None
    source = ids(found.tokens["source"].pieces)
    whole = masked_log_probs(own, source, found)
    torch.testing.assert_close(torch.tensor(found.log_probs, dtype=torch.float64), whole)
    assert sum(found.log_probs) == pytest.approx(found.hypotheses[0].log_prob, abs=1e-4)
    for place in range(len(source) - 1):
        expected = whole - masked_log_probs(own, source[:place] + source[place + 1 :], found)
        torch.testing.assert_close(values(found, "erasure")[:, place], expected)


def test_the_rounds_of_mask_predict_end_with_its_translation_and_keep_what_they_do_not_write() -> None:
    own, found = inspected("mask-predict", "5 7 4 6 8 9 5 4", iterations=4)
    [expected] = own.translate(["5 7 4 6 8 9 5 4"], iterations=4)
    assert found.passes is not None and found.output == expected.text
    rounds = found.passes.rounds
    assert all(rounds[0].written)
    assert [str(token) for token in rounds[-1].tokens] == list(found.tokens["target"].pieces)
    for earlier, later in pairwise(rounds):
        places = zip(earlier.tokens, later.tokens, later.written, later.candidates, strict=True)
        for old, new, wrote, candidates in places:
            assert candidates[0][0] == new if wrote else (old == new and not candidates)


def test_the_maps_of_mask_predict_are_of_the_round_that_wrote_each_token() -> None:
    own, found = inspected("mask-predict", "5 7 4 6 8 9 5 4", iterations=3)
    assert found.passes is not None
    rule, before = scheme(own.decoder.network), [START] * len(found.tokens["target"].pieces)
    memory = rule.body.encode(*own.padded([ids(found.tokens["source"].pieces)]))
    rows: dict[int, torch.Tensor] = {}
    for one in found.passes.rounds:
        read = [START if wrote else old for wrote, old in zip(one.written, before, strict=True)]
        with torch.no_grad(), record_attention(own.decoder.network) as maps:
            rule.write(torch.tensor([read]), torch.tensor([len(read)]), memory)
        [first, *_] = [each for each in maps.values() if each.kind == "cross"]
        rows |= {place: first.weights[0, :, place] for place, wrote in enumerate(one.written) if wrote}
        before = list(one.tokens)
    [shown, *_] = [each for each in found.maps if each.kind == "cross"]
    for place, row in rows.items():
        torch.testing.assert_close(shown.weights[:, place], row.float())


def test_a_token_of_a_given_target_has_no_probability_under_mask_predict() -> None:
    _, found = inspected("mask-predict", target="8 6 9")
    assert found.log_probs is None and not found.attributions
    assert found.absent["attributions"] == found.absent["log_probs"] == "masked"


@pytest.mark.parametrize("name", NONAUTOREGRESSIVE)
def test_gradient_times_input_is_the_derivative_when_a_token_and_its_copies_grow(name: str) -> None:
    own, found = inspected(name)
    assert found.passes is not None
    decoder, network = own.decoder, own.decoder.network
    source = torch.tensor([ids(found.tokens["source"].pieces)])
    target = [*ids(found.tokens[found.written].pieces), *([] if name in PATHS else [END])]
    copies = decoder.copies(source, torch.tensor([source.size(1)]), target)
    step = 1e-5

    def log_probs(place: int, factor: float) -> torch.Tensor:
        calls = iter([torch.arange(source.size(1))[None], *([] if copies is None else [copies])])

        def hook(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
            read = next(calls, None)
            if read is None:
                return output
            factors = torch.ones(read.shape, dtype=output.dtype).masked_fill(read == place, factor)
            return output * factors[..., None]

        handle = network.encoder.embedding.tokens.register_forward_hook(hook)
        try:
            with torch.no_grad():
                row: torch.Tensor = decoder.token_log_probs(source, target, found.passes.rounds)[0]
        finally:
            handle.remove()
        return row

    for place in range(source.size(1)):
        expected = (log_probs(place, 1 + step) - log_probs(place, 1 - step)) / (2 * step)
        torch.testing.assert_close(values(found, "gradient")[:, place], expected, rtol=1e-4, atol=1e-6)


def ctc_paths(
    target: Sequence[int], slots: int, blank: int, classes: int
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Every path of class numbers, and how many tokens of the target its output begins with; -1 for all."""
    for path in product(range(classes), repeat=slots):
        written = [token for token, _ in groupby(path) if token != blank]
        if written == list(target):
            yield path, -1
        for length in range(1, len(target) + 1):
            if written[:length] == list(target[:length]):
                yield path, length - 1


@pytest.mark.parametrize("target", [[1], [1, 2], [1, 1], [2, 1, 2]])
def test_prefixes_of_ctc_sum_over_all_paths(target: list[int]) -> None:
    torch.manual_seed(0)
    log_probs = torch.randn(4, 3, dtype=torch.float64).log_softmax(-1)  # classes: blank, 1, 2
    expected = torch.zeros(len(target) + 1, dtype=torch.float64)
    for path, prefix in ctc_paths(target, 4, 0, 3):
        expected[prefix] += log_probs[torch.arange(4), torch.tensor(path)].sum().exp()
    found = ctc.prefix_log_probs(log_probs[None, :, [0, *target]], torch.tensor(target), blank=0)[0]
    torch.testing.assert_close(found.exp(), expected)


def test_prefixes_of_a_graph_sum_over_all_paths() -> None:
    torch.manual_seed(1)
    links = torch.randn(5, 5, dtype=torch.float64).exp().triu(1)
    links = links / links.sum(1, keepdim=True).clamp(min=1e-9)
    emitted = torch.randn(5, 4, dtype=torch.float64).log_softmax(
        -1
    )  # of the start symbol, two tokens, the end
    expected = torch.zeros(3, dtype=torch.float64)
    for tokens in (1, 2):
        for path in product(range(1, 4), repeat=tokens):
            if list(path) == sorted(set(path)):
                ways = math.prod(float(links[a, b]) for a, b in zip([0, *path], path, strict=False))
                ways *= math.prod(math.exp(emitted[v, k]) for k, v in enumerate([0, *path]))
                expected[tokens - 1] += ways
                if tokens == 2:
                    expected[2] += ways * float(links[path[-1], 4]) * math.exp(emitted[4, 3])
    found = dag.prefix_log_probs(emitted[None], links[None])[0]
    torch.testing.assert_close(found.exp(), expected)


@pytest.mark.parametrize("name", PATHS)
def test_slots_lead_along_the_likeliest_path_to_the_output(name: str) -> None:
    _, found = inspected(name, LINE.replace(".", "").replace("the dog sees an apple", "5 7 4 6 8"))
    assert found.passes is not None and found.passes.slots is not None
    [only] = found.passes.rounds
    output = ids(found.tokens["output"].pieces)
    assert len(found.passes.slots) == len(output)
    places = [place for own in found.passes.slots for place in own]
    assert places == sorted(set(places)) and all(0 <= place < len(only.tokens) for place in places)
    if name == "ctc":
        written = [only.tokens[own[0]] for own in found.passes.slots[:-1]]
        assert written == output[:-1] and found.passes.slots[-1] == ()
    else:
        assert found.passes.slots[-1] == (len(only.tokens) - 1,)
