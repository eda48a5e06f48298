"""A single string is never taken for a list of lines, by any public function."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import saccade
from saccade import comparison, evaluation
from saccade.alignment.fertilities import fertilities
from saccade.alignment.words import align_words
from saccade.config import apply_overrides
from saccade.inspection.picture import draw_attention
from saccade.interop.exporting import export_model, store_model
from saccade.runs.experiment import read_experiment, resume_run
from saccade.text.language_model import text_size
from saccade.text.lines import checked_lines, require_lines, require_pairs
from saccade.text.tokenizer import SentencePieceTokenizer, TokenizerConfig, byte_pieces
from saccade.text.vocabulary import learn_model, sample_lines
from saccade.text.wordpiece import WordPieceConfig, WordPieceTokenizer
from saccade.text.words import ByteTokenizer, WordTokenizer
from saccade.use.classifier import TextLabeller
from saccade.use.frame_labeller import FrameLabeller
from saccade.use.generator import TextGenerator
from saccade.use.mask_filler import MaskFiller
from saccade.use.pointer import InputPointer
from saccade.use.tagger import WordLabeller
from saccade.use.transcriber import Transcriber
from saccade.use.translator import Translator
from tests import framed, labelled, tiny
from tests.test_generator import model as language_model

LINE: Any = "ninety-nine"
TRANSLATOR = Translator.of(tiny.model())
GENERATOR = TextGenerator(language_model("transformer-xl"))
GROUP: Any = None
OUT = Path("never-written.png")

CALLS: dict[str, list[Callable[[], Any]]] = {
    "saccade.alignment.fertilities.fertilities": [
        lambda: fertilities(TRANSLATOR, LINE, ["a"]),
        lambda: fertilities(TRANSLATOR, ["a"], LINE),
    ],
    "saccade.alignment.words.align_words": [
        lambda: align_words(TRANSLATOR, LINE, ["a"]),
        lambda: align_words(TRANSLATOR, ["a"], LINE),
    ],
    "saccade.use.pair_reader.PairReader.align": [
        lambda: TRANSLATOR.align(LINE, ["a"]),
        lambda: TRANSLATOR.align(["a"], LINE),
    ],
    "saccade.use.pair_reader.PairReader.word_weights": [
        lambda: TRANSLATOR.word_weights(LINE, ["a"]),
        lambda: TRANSLATOR.word_weights(["a"], LINE),
    ],
    "saccade.text.wordpiece.WordPieceTokenizer.encode_source": [
        lambda: labelled.pieces().encode_source(LINE)
    ],
    "saccade.text.wordpiece.WordPieceTokenizer.learn": [
        lambda: WordPieceTokenizer.learn(LINE, vocab_size=None, config=WordPieceConfig())
    ],
    "saccade.use.classifier.TextLabeller.predict": [
        lambda: TextLabeller(labelled.classifier()).predict(LINE)
    ],
    "saccade.use.frame_labeller.FrameLabeller.predict": [
        lambda: FrameLabeller(framed.frame_classifier()).predict(LINE)
    ],
    "saccade.use.transcriber.Transcriber.predict": [lambda: Transcriber(framed.recogniser()).predict(LINE)],
    "saccade.use.mask_filler.MaskFiller.embed": [lambda: MaskFiller(labelled.bert()).embed(LINE)],
    "saccade.use.mask_filler.MaskFiller.predict": [lambda: MaskFiller(labelled.bert()).predict(LINE)],
    "saccade.use.mask_filler.MaskFiller.run": [lambda: MaskFiller(labelled.bert()).run(LINE)],
    "saccade.use.tagger.WordLabeller.predict": [lambda: WordLabeller(labelled.tagger()).predict(LINE)],
    "saccade.comparison.compare": [
        lambda: comparison.compare({"a": ["x"], "b": LINE}, ["x"]),
        lambda: comparison.compare({"a": ["x"], "b": ["y"]}, LINE),
        lambda: comparison.compare({"a": ["x"], "b": ["y"]}, ["x"], sources=LINE),
    ],
    "saccade.config.apply_overrides": [lambda: apply_overrides({}, LINE)],
    "saccade.evaluation.evaluate": [
        lambda: evaluation.evaluate(TRANSLATOR, LINE, ["x"]),
        lambda: evaluation.evaluate(TRANSLATOR, ["x"], LINE),
    ],
    "saccade.evaluation.score_text": [
        lambda: evaluation.score_text(LINE, ["x"]),
        lambda: evaluation.score_text(["x"], LINE),
    ],
    "saccade.runs.experiment.read_experiment": [lambda: read_experiment(overrides=LINE)],
    "saccade.runs.experiment.resume_run": [lambda: resume_run(OUT, GROUP, overrides=LINE)],
    "saccade.use.generator.TextGenerator.score": [lambda: GENERATOR.score(LINE)],
    "saccade.inspection.picture.draw_attention": [
        lambda: draw_attention([], LINE, ["a"], out=OUT),
        lambda: draw_attention([], ["a"], LINE, out=OUT),
    ],
    "saccade.interop.exporting.export_model": [
        lambda: export_model(tiny.model(), OUT, target="onnx", lines=LINE)
    ],
    "saccade.interop.exporting.store_model": [lambda: store_model(tiny.model(), OUT, lines=LINE)],
    "saccade.text.language_model.text_size": [lambda: text_size(LINE, tiny.sentence_pieces())],
    "saccade.text.tokenizer.SentencePieceTokenizer.encode_source": [
        lambda: tiny.sentence_pieces().encode_source(LINE)
    ],
    "saccade.text.tokenizer.SentencePieceTokenizer.encode_target": [
        lambda: tiny.sentence_pieces().encode_target(LINE)
    ],
    "saccade.text.tokenizer.SentencePieceTokenizer.learn": [
        lambda: SentencePieceTokenizer.learn(TokenizerConfig(), LINE, ["a"]),
        lambda: SentencePieceTokenizer.learn(TokenizerConfig(), ["a"], LINE),
    ],
    "saccade.text.tokenizer.byte_pieces": [lambda: byte_pieces(LINE)],
    "saccade.use.pointer.InputPointer.predict": [lambda: InputPointer(labelled.pointer()).predict(LINE)],
    "saccade.text.vocabulary.learn_model": [lambda: learn_model(TokenizerConfig(), LINE, side="text")],
    "saccade.text.vocabulary.sample_lines": [lambda: sample_lines(LINE, limit=3)],
    "saccade.text.words.ByteTokenizer.encode_source": [lambda: ByteTokenizer().encode_source(LINE)],
    "saccade.text.words.WordTokenizer.__init__": [lambda: WordTokenizer(LINE)],
    "saccade.text.words.WordTokenizer.encode_source": [lambda: WordTokenizer(["a"]).encode_source(LINE)],
    "saccade.text.words.WordTokenizer.learn": [lambda: WordTokenizer.learn(LINE, vocab_size=None)],
    "saccade.use.pair_reader.PairReader.score": [
        lambda: TRANSLATOR.score(LINE, ["a"]),
        lambda: TRANSLATOR.score(["a"], LINE),
    ],
    "saccade.use.pair_reader.PairReader.score_targets": [
        lambda: TRANSLATOR.score_targets(LINE, ["a"]),
        lambda: TRANSLATOR.score_targets(["a"], LINE),
    ],
    "saccade.use.translator.Translator.stream": [
        lambda: TRANSLATOR.stream(LINE),
        lambda: TRANSLATOR.stream(["a"], prefixes=LINE),
    ],
    "saccade.use.translator.Translator.stream_chunks": [
        lambda: TRANSLATOR.stream_chunks(LINE),
        lambda: TRANSLATOR.stream_chunks([["a"]], prefixes=LINE),
        lambda: list(TRANSLATOR.stream_chunks([LINE])),
    ],
    "saccade.use.translator.Translator.translate": [
        lambda: TRANSLATOR.translate(LINE),
        lambda: TRANSLATOR.translate(["a"], prefixes=LINE),
    ],
    "saccade.text.lines.checked_lines": [lambda: list(checked_lines(iter([b"a"]), "lines"))],  # type: ignore[list-item]
    "saccade.text.lines.require_lines": [lambda: require_lines(LINE, "lines")],
    "saccade.text.lines.require_pairs": [
        lambda: require_pairs(LINE, ["a"]),
        lambda: require_pairs(["a"], LINE),
    ],
}
"""Calls with a single string where each public function expects several."""

ELSEWHERE = {
    # What they get was checked by the public function that calls them.
    r"saccade\.text\.(imported|m2m|marian|lines)\.\w+(\.\w+)?",
    r"saccade\.use\.(problems|attending|scoring|label_scores|minimum_risk|request|text_decoder)\..*",
    r"saccade\.text\.(conllu|labelled|tagging)\..*",
    r"saccade\.inspection\.(confusion|reading|overlay)\..*",
    r"saccade\.inspection\.picture\.fonts_for",
    r"saccade\.use\.recorded\..*",
    # Tokenisers of what is no text refuse lines.
    r"saccade\.text\.(framed|table)\..*",
    r"saccade\.alignment\.counting\.both_ways",
    r"saccade\.text\.word_pieces\..*",
    r"saccade\.text\.(repeats|findings|overlap|language_id|folding|scripts)\..*",
    r"saccade\.interop\.graphs\.export_graph",
    r"saccade\.text\.columns\..*",
    # The characters of a text are those of its lines.
    r"saccade\.text\.vocabulary\.character_counts",
    # Protocols, and names that are no lines: sections, files and compiler options.
    r"saccade\.text\.tokenizer\.Tokenizer\..*",
    r"saccade\.use\.predictor\.Predictor\..*",
    r"saccade\.text\.wordpiece\.WordPieceTokenizer\.__init__",
    r"saccade\.text\.words\.WordTokenizer\.numbers",
    r"saccade\.(lab\.catalogue|inspection\.page)\..*",
    r"saccade\.config\.check_sections",
    r"saccade\.storage\.digests\..*",
    r"saccade\.interop\.recognised\..*",
    r"saccade\.inspection\.words\..*",
    r"saccade\.(text\.(corpus|encode)|native\.compiler|models\.recording)\..*",
}
"""Public functions that need no check of their own, as patterns."""


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(saccade.__path__, "saccade."):
        if not re.match(r"saccade\.(commands|training|__main__)", found.name):
            yield importlib.import_module(found.name)


def takes_strings(function: Any) -> bool:
    hints = getattr(function, "__annotations__", {})
    wanted = r"\b(Sequence|Iterable)\[(str|Sequence\[str\]|Iterable\[str\])\]"
    return any(name != "return" and re.search(wanted, str(hint)) for name, hint in hints.items())


def public_functions() -> Iterator[str]:
    for module in modules():
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(value) and takes_strings(value):
                yield f"{module.__name__}.{name}"
            if inspect.isclass(value):
                for method, raw in vars(value).items():
                    function = raw.__func__ if isinstance(raw, classmethod | staticmethod) else raw
                    shown = method == "__init__" or not method.startswith("_")
                    # Generated methods and aliases have another file or name.
                    own = inspect.isfunction(function) and function.__name__ == method
                    written = own and function.__code__.co_filename != "<string>"
                    if shown and written and takes_strings(function):
                        yield f"{module.__name__}.{name}.{method}"


def test_every_public_function_that_takes_strings_is_checked_below() -> None:
    found = set(public_functions())
    exempt = {name for name in found if any(re.fullmatch(pattern, name) for pattern in ELSEWHERE)}
    assert found - exempt <= CALLS.keys()
    assert len(found & CALLS.keys()) > 15


@pytest.mark.parametrize(
    "call", [one for calls in CALLS.values() for one in calls], ids=lambda call: call.__code__.co_firstlineno
)
def test_a_single_string_is_a_type_error_that_names_the_argument(call: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match=r"^[\w\['\]]+ is (a single str|bytes)"):
        call()


def test_the_message_shows_the_list_that_was_meant() -> None:
    with pytest.raises(TypeError, match=re.escape("with one str for each line: ['ninety-nine'].")):
        TRANSLATOR.translate(LINE)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"a line", "lines is bytes; decode it"),
        (None, "lines is None"),
        (7, "lines is int 7"),
        (Path("text.en"), "lines is PosixPath"),
        ({"a": "b"}, "lines is a dict, which has no order"),
        ({"a", "b"}, "lines is a set, which has no order"),
        (["a", b"b"], r"lines\[1\] is bytes b'b', not str; decode it first"),
        (["a", "b", None], r"lines\[2\] is None, not str"),
        ([3.5], r"lines\[0\] is float 3.5, not str"),
        ([["a"]], r"lines\[0\] is list \['a'\], not str"),
    ],
)
def test_what_is_no_list_of_lines_is_named_with_its_place(lines: Any, message: str) -> None:
    for call in (TRANSLATOR.translate, TRANSLATOR.tokenizer.encode_source, GENERATOR.score):
        with pytest.raises(TypeError, match=f"^{message}"):
            call(lines)
    with pytest.raises(TypeError, match=f"^{message}"):
        list(TRANSLATOR.stream(lines, max_length=3))


def test_a_stream_names_the_place_of_a_bad_line_among_all_lines() -> None:
    results = TRANSLATOR.stream(iter(["a", "b", "a", 5]), chunk=3, max_length=3)  # type: ignore[list-item]
    assert [next(results).source for _ in range(3)] == ["a", "b", "a"]
    with pytest.raises(TypeError, match=r"lines\[3\] is int 5"):
        next(results)


def test_any_other_iterable_of_strings_is_a_list_of_lines() -> None:
    expected = TRANSLATOR.translate(["a cat", "nobody"], max_length=4)
    assert TRANSLATOR.translate(("a cat", "nobody"), max_length=4) == expected
    assert TRANSLATOR.translate(iter(["a cat", "nobody"]), max_length=4) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [None, 5, b"a", ["a"]])
def test_a_list_is_not_taken_for_a_text(text: Any) -> None:
    for call in (
        lambda: TRANSLATOR.attention(text, "a"),
        lambda: TRANSLATOR.pieces("a", text),
        lambda: GENERATOR.generate(text),
    ):
        with pytest.raises(TypeError, match="not str"):
            call()
