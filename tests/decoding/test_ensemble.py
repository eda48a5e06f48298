"""Ensembles: the mean of probabilities at each step, through the one search and on every engine."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import saccade
from saccade.__main__ import app
from saccade.decoding.ensemble import Ensemble, mean_log_probs
from saccade.decoding.options import DecodingConfig
from saccade.decoding.search import Search, search
from saccade.errors import ConfigError, UserError
from saccade.model_folder.checkpoint import Model, save_model
from saccade.use.translator import Translator
from tests import kinds
from tests.decoding.test_search import WORDS, assert_same, run, table_model
from tests.models.test_language_models import network as language_model
from tests.models.test_nonautoregressive import network as all_at_once
from tests.reference import search as reference
from tests.reference.search import LogProbs, Rules, random_table
from tests.tiny import LINES, model, padded, sentence_pieces, sentences, transformer


def mean_of(tables: Sequence[LogProbs]) -> LogProbs:
    """The ensemble of tables, a token at a time."""

    def log_probs(source: tuple[int, ...], tokens: tuple[int, ...]) -> list[float]:
        rows = [table(source, tokens) for table in tables]
        return [math.log(math.fsum(map(math.exp, column)) / len(rows)) for column in zip(*rows, strict=True)]

    return log_probs


TABLES = [random_table(5, seed=seed, sharpness=2.0) for seed in (1, 2, 3)]


@pytest.mark.parametrize(("kind", "alpha"), [("gnmt", 0.6), ("power", 1.0)])
def test_a_beam_wide_enough_finds_what_enumeration_finds(kind: str, alpha: float) -> None:
    banned = tuple({WORDS.pad, WORDS.start} - {WORDS.end})
    rules = Rules(end=1, max_length=5, banned=banned)
    expected = reference.best(mean_of(TABLES), (4, 6), rules, kind=kind, alpha=alpha)
    together: Any = Ensemble([table_model(table) for table in TABLES])
    options = {"beam": 400, "nbest": 400, "length_penalty": kind, "alpha": alpha, "max_length": 5}
    (found,) = run(together, [[4, 6]], **options)
    assert_same(found, expected)


def test_a_narrow_beam_is_that_of_lists() -> None:
    rules = Rules(end=1, max_length=6, banned=(0,))
    expected = reference.beam_search(mean_of(TABLES), (4, 6), rules, beam=2, kind="gnmt", alpha=0.6)
    together: Any = Ensemble([table_model(table) for table in TABLES])
    (found,) = run(together, [[4, 6]], beam=2, nbest=2, max_length=6)
    assert_same(found, expected[:2])


def test_the_mean_is_of_probabilities_not_of_their_logarithms() -> None:
    torch.manual_seed(0)
    logits = [torch.randn(3, 7), torch.randn(3, 7)]
    expected = ((logits[0].double().softmax(-1) + logits[1].double().softmax(-1)) / 2).log()
    found = mean_log_probs([one.clone() for one in logits])
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_models_of_several_kinds_write_together_and_sentences_may_join() -> None:
    together: Any = Ensemble([kinds.ending(name) for name in ("transformer", "recurrent, dot")])
    assert together.joins
    sources = sentences([5, 3, 7])
    options = DecodingConfig(beam=3, nbest=3, max_length=9)
    ids, lengths = padded(sources)
    alone = [
        search(together, ids[n : n + 1, : lengths[n]], lengths[n : n + 1], options=options)[0]
        for n in range(3)
    ]
    running = Search(together)
    handles = running.add(ids[:2], lengths[:2], options=options)
    running.step()
    handles += running.add(ids[2:], lengths[2:], options=options)
    while not running.done:
        running.step()
    found = dict(running.take_finished())
    for handle, expected in zip(handles, alone, strict=True):
        assert [one.tokens for one in found[handle]] == [one.tokens for one in expected]


def models(count: int = 3) -> list[Model]:
    return [model(seed=seed, dtype=torch.float32) for seed in range(count)]


def test_an_ensemble_of_one_model_thrice_is_that_model() -> None:
    one = model(dtype=torch.float32)
    options: Any = {"beam": 3, "max_length": 8}
    alone = Translator.of(one).translate(LINES[:3], **options)
    thrice = Translator.ensemble([one, one, one]).translate(LINES[:3], **options)
    assert [found.text for found in thrice] == [found.text for found in alone]
    assert [found.score for found in thrice] == pytest.approx([found.score for found in alone], abs=1e-4)


@pytest.mark.parametrize("engine", ["saccade", "torch"])
def test_a_translation_has_the_log_probability_that_scoring_gives_its_text(engine: Any) -> None:
    three = models()
    translator = Translator.ensemble(three, engine=engine)
    options: Any = {"beam": 3, "max_length": 8}
    found = translator.translate(LINES[:3], **options)
    networks = [one.network for one in three]
    for line, one in zip(LINES[:3], found, strict=True):
        ids = translator.tokenizer.encode_target([one.text])[0]
        source, lengths = padded(translator.tokenizer.encode_source([line]))
        shifted = torch.tensor([[translator.decoder.vocabulary.start, *ids[:-1]]])
        with torch.inference_mode():
            logits = [network(shifted, network.encode(source, lengths))[0] for network in networks]
        mean = torch.stack(logits).double().softmax(-1).mean(0)
        expected = sum(math.log(float(mean[t, token])) for t, token in enumerate(ids))
        assert translator.score([line], [one.text])[0] == pytest.approx(expected, abs=1e-3)
        if translator.tokenizer.target_pieces(ids[:-1]) == list(one.tokens):
            assert one.log_prob == pytest.approx(expected, abs=1e-3)


def test_the_engine_writes_what_torch_writes() -> None:
    options: Any = {"beam": 4, "max_length": 8}
    fast, plain = (
        Translator.ensemble(models(), engine=engine).translate(LINES[:6], **options)
        for engine in ("saccade", "torch")
    )
    assert [one.score for one in fast] == pytest.approx([one.score for one in plain], abs=1e-3)


def test_what_cannot_write_together_is_refused() -> None:
    other = sentence_pieces(joint=False)
    with pytest.raises(ConfigError, match="model 2 of the ensemble has other pieces"):
        Translator.ensemble([model(), model(other)])
    for network in (all_at_once("ctc"), language_model("transformer-xl")):
        odd = Model(network=network, config=network.config, tokenizer=sentence_pieces())
        with pytest.raises(UserError, match="model 2 of the ensemble is a"):
            Translator.ensemble([model(), odd])
    with pytest.raises(ConfigError, match="at least one"):
        Translator.ensemble([])


def test_it_has_no_attention_of_its_own() -> None:
    translator = Translator.ensemble(models(2))
    for ask in (
        lambda: translator.attention(LINES[0], LINES[1]),
        lambda: translator.inspect(LINES[0], LINES[1]),
        lambda: translator.decoder.align(*translator.padded([[5, 3]]), [[5, 3]]),
    ):
        with pytest.raises(UserError, match="an ensemble has no attention"):
            ask()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    home = tmp_path_factory.mktemp("ensemble")
    for number, one in enumerate(models(2)):
        save_model(home / f"m{number}", one)
    return [home / "m0", home / "m1"]


def test_folders_are_loaded_as_an_ensemble_and_pickled_by_their_names(folders: list[Path]) -> None:
    translator = saccade.load(folders, device="cpu")
    again = pickle.loads(pickle.dumps(translator))
    options: Any = {"beam": 2, "max_length": 6}
    assert [one.text for one in again.translate(LINES[:2], **options)] == [
        one.text for one in translator.translate(LINES[:2], **options)
    ]
    with pytest.raises(ConfigError, match="reranker"):
        Translator.load(folders, reranker=folders[0])


def test_the_command_line_takes_several_models_with_commas(folders: list[Path], tmp_path: Path) -> None:
    text = tmp_path / "in.txt"
    text.write_text("".join(f"{line}\n" for line in LINES[:2]), encoding="utf-8")
    several = ",".join(map(str, folders))
    options = ["--beam", "2", "--max-length", "6"]
    done = CliRunner().invoke(app, ["translate", several, str(text), *options])
    assert done.exit_code == 0, done.output
    expected: Any = Translator.load(folders, device="cpu").translate(LINES[:2], beam=2, max_length=6)
    assert done.stdout.splitlines() == [one.text for one in expected]
    scored = CliRunner().invoke(
        app, ["evaluate", several, "--source", str(text), "--reference", str(text), *options]
    )
    assert scored.exit_code == 0, scored.output
    refused = CliRunner().invoke(app, ["translate", several, str(text), "--engine", "onnx"])
    assert refused.exit_code != 0
    missing = CliRunner().invoke(app, ["translate", f"{folders[0]},{tmp_path / 'none'}", str(text)])
    assert missing.exit_code != 0


def test_networks_of_a_single_width_and_of_several_can_be_scored_together() -> None:
    narrow, wide = transformer(width=12), transformer(width=24, heads=3, seed=1)
    together: Any = Ensemble([narrow, wide])
    ids, lengths = padded(sentences([5, 4]))
    target = torch.tensor([[2, 5, 6], [2, 7, 8]])
    memory = together.encode(ids, lengths)
    hidden = together.decode(target, memory)
    assert hidden.shape == (2, 3, 36)
    found = together.output(hidden.flatten(0, 1))
    expected = (
        narrow(target, narrow.encode(ids, lengths)).softmax(-1)
        + wide(target, wide.encode(ids, lengths)).softmax(-1)
    ) / 2
    torch.testing.assert_close(found.double(), expected.log().flatten(0, 1), rtol=1e-5, atol=1e-5)
