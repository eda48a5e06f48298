"""Transformers that copy from the source, against plain loops, and where they are refused."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import saccade
from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import search
from saccade.engine import unsupported_reason
from saccade.engine.fixed import unsupported_reason as fixed_reason
from saccade.errors import UserError
from saccade.interop.exporting import export_model
from saccade.model_folder.checkpoint import save_model
from saccade.models import build_model, model_config
from saccade.models.recording import record_attention
from saccade.runs.experiment import read_experiment
from saccade.text.batching import Batch
from saccade.training.objective import CrossEntropy
from saccade.use.translator import Translator
from tests.kinds import model, network
from tests.tiny import END, LINES, batch, padded, sentences, vocabulary

SOURCE, TARGET = sentences([6, 3, 5]), sentences([4, 5, 2], seed=1)


def copying(**changes: Any) -> Any:
    return network("transformer, copying", **changes)


def plain_twin(made: Any) -> Any:
    """The same network without copying, whose decoder states are what the copying one adds to."""
    twin = network("transformer")
    twin.load_state_dict({name: one for name, one in made.state_dict().items() if "copying" not in name})
    return twin


def by_loops(made: Any, source: list[int], target: list[int]) -> list[list[float]]:
    """The probability of every token at each step, from the states and weights, one number at a time."""
    twin, weights = plain_twin(made), {name: p.detach().numpy() for name, p in made.named_parameters()}
    memory = twin.encode(*padded([source]))
    with torch.no_grad():
        hidden = twin.decode(padded([[2, *target[:-1]]])[0], memory)[0].numpy()
        logits = twin(padded([[2, *target[:-1]]])[0], memory)[0].numpy()
    states, found = memory.states[0].detach().numpy(), []

    def linear(name: str, x: Any) -> Any:
        return weights[f"copying.{name}.weight"] @ x + weights[f"copying.{name}.bias"]

    for state, row in zip(hidden, logits, strict=True):
        query = linear("query", state)
        scores = [float(query @ linear("key", one)) / math.sqrt(len(query)) for one in states]
        powers = [math.exp(score - max(scores)) for score in scores]
        attention = [power / math.fsum(powers) for power in powers]
        context = sum(share * one for share, one in zip(attention, states, strict=True))
        gate = 1 / (1 + math.exp(-float(linear("gate", np.concatenate([state, context]))[0])))
        exponents = [math.exp(float(one) - float(row.max())) for one in row]
        probabilities = [gate * one / math.fsum(exponents) for one in exponents]
        for share, token in zip(attention, source, strict=True):
            probabilities[token] += (1 - gate) * share
        found.append(probabilities)
    return found


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_a_plain_loop(smoothing: float) -> None:
    made, expected = copying(), 0.0
    for source, target in zip(SOURCE, TARGET, strict=True):
        for row, gold in zip(by_loops(made, source, target), target, strict=True):
            assert math.fsum(row) == pytest.approx(1.0)
            uniform = -math.fsum(math.log(one) for one in row) / len(row)
            expected += -(1 - smoothing) * math.log(row[gold]) + smoothing * uniform
    found = CrossEntropy(smoothing)(made, batch(SOURCE, TARGET))
    assert float(found.detach()) == pytest.approx(expected, rel=1e-9)


def test_the_gradient_is_that_of_finite_differences() -> None:
    made, given = copying(), batch(SOURCE, TARGET)
    CrossEntropy(0.1)(made, given).backward()
    for parameter in (made.copying.gate.weight, made.copying.key.weight, made.output.weight):
        place, step = (0, 3), 1e-6
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[place] += sign * step
                losses.append(float(CrossEntropy(0.1)(made, given)))
                parameter[place] -= sign * step
        expected = (losses[0] - losses[1]) / (2 * step)
        assert float(parameter.grad[place]) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_a_token_that_only_the_source_has_is_copied_and_no_other_is_lost() -> None:
    made = copying()
    with torch.no_grad():
        made.copying.gate.weight.zero_()
        made.copying.gate.bias.fill_(-50.0)  # nothing is generated
        log_probs = made(padded([[2, 5, 7]])[0], made.encode(*padded([[6, 9, 6, END]])))
    present = log_probs[0].exp().sum(0) > 1e-9
    assert present.nonzero().flatten().tolist() == [END, 6, 9]
    assert bool(torch.isfinite(log_probs).all())


def test_scores_search_and_attention_agree(tmp_path: Path) -> None:
    made = model("transformer, copying")
    translator = Translator.of(made)
    found = translator.translate(LINES, beam=3, max_length=9)
    scores = translator.score([one.source for one in found], [one.text for one in found])
    for one, score in zip(found, scores, strict=True):
        if one.problem is None:
            assert score.log_prob == pytest.approx(one.log_prob, rel=1e-5)
    maps = translator.attention(LINES[0], LINES[1])
    cross = [one for one in maps if one.kind == "cross"]
    assert [one.heads for one in cross] == [3, 3, 1]
    for one in maps:
        torch.testing.assert_close(one.weights.sum(-1), torch.ones_like(one.weights[..., 0]))
    assert translator.inspect(LINES[0]).attributions
    save_model(tmp_path / "model", made)
    again = saccade.load(tmp_path / "model", device="cpu")
    assert [one.tokens for one in again.translate(LINES, beam=3, max_length=9)] == [
        one.tokens for one in found
    ]


def test_what_is_recorded_is_what_is_copied() -> None:
    made = copying()
    with record_attention(made) as maps:
        states = made.decode(padded(TARGET)[0], made.encode(*padded(SOURCE)))
    length, width = padded(SOURCE)[0].size(1), made.config.width
    torch.testing.assert_close(
        maps["copying"].weights[:, 0], states[..., width + 1 : width + 1 + length].detach()
    )


def test_sixteen_bits_keep_the_ids_of_a_large_vocabulary() -> None:
    made = copying(dtype=torch.bfloat16, words=vocabulary(5000))
    ids = torch.tensor([[4097, 4099, 4999, END]])
    with torch.no_grad():
        made.copying.gate.weight.zero_()
        made.copying.gate.bias.fill_(-20.0)
        log_probs = made(torch.tensor([[2]]), made.encode(ids, torch.tensor([4])))[0, 0]
    assert log_probs.dtype == torch.float32
    assert sorted(log_probs.topk(4).indices.tolist()) == sorted(ids[0].tolist())


@pytest.mark.parametrize("target", ["onnx", "ctranslate2"])
def test_exports_refuse_it_and_no_engine_takes_it(target: Any, tmp_path: Path) -> None:
    made = model("transformer, copying")
    assert unsupported_reason(made.network) == fixed_reason(made.network) == "it copies from the source"
    with pytest.raises(UserError, match=f"model.copying = True: {target} export cannot express it"):
        export_model(made, tmp_path / "out", target=target, lines=LINES)
    with pytest.raises(UserError, match="precision int8 is not possible for this model: it copies"):
        Translator.of(made, precision="int8").translate(LINES)


def test_ensembles_and_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_model(tmp_path / "model", model("transformer, copying"))
    with pytest.raises(UserError, match="model 1 of the ensemble copies from the source"):
        saccade.load([tmp_path / "model", tmp_path / "model"], device="cpu")
    with pytest.raises(UserError, match="leave tokenizer.joint at true"):
        read_experiment(overrides=["model.copying=true", "tokenizer.joint=false"])
    with pytest.raises(UserError, match="training.r_drop: not for models that copy"):
        read_experiment(overrides=["model.copying=true", "training.r_drop=5"])
    with pytest.raises(
        UserError,
        match="copying = True: a setting of kind transformer and recogniser, and this model is recurrent",
    ):
        read_experiment(overrides=["model.kind=recurrent", "model.copying=true"])
    table = {"kind": "transformer", "copying": True, "width": 12, "heads": 3}
    with pytest.raises(UserError, match="the ids of the source have to mean the same pieces in the target"):
        build_model(model_config(table), vocabulary(13, target_size=12))


# --- words that training has never seen -----------------------------------------------------------

KNOWN, NEW = range(4, 2000), range(2000, 2040)


def pairs(seed: int, tokens: range, rows: int = 32) -> Iterator[Batch]:
    """A source and the same tokens as its target."""
    generator = random.Random(seed)
    while True:
        source = [
            [*(generator.choice(tokens) for _ in range(generator.randint(2, 6))), END] for _ in range(rows)
        ]
        yield batch(source, source)


def exact(made: Any, given: Batch) -> float:
    """Share of sources that greedy search copies."""
    source = given["source"]
    found = search(made, source.values, source.lengths, options=DecodingConfig(beam=1, max_length=9))
    gold = [tuple(row[: int(n) - 1].tolist()) for row, n in zip(source.values, source.lengths, strict=True)]
    return sum(one[0].tokens == answer for one, answer in zip(found, gold, strict=True)) / len(gold)


def test_words_that_training_lacks_are_copied_and_cannot_be_generated() -> None:
    test, share = next(pairs(seed=9, tokens=NEW)), {}
    for copies in (True, False):
        torch.manual_seed(1)
        table = {"width": 32, "heads": 2, "feed_forward": 64, "encoder_layers": 1, "decoder_layers": 1}
        made = build_model(model_config({"dropout": 0.0, "copying": copies, **table}), vocabulary(2040))
        optimizer = torch.optim.Adam(made.parameters(), lr=5e-3)
        for given in itertools.islice(pairs(seed=1, tokens=KNOWN), 120):
            optimizer.zero_grad()
            (CrossEntropy()(made, given) / given.target_tokens).backward()
            optimizer.step()
        share[copies] = exact(made.eval(), test)
    assert share[False] < 0.05
    assert share[True] > 0.2
