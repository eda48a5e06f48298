"""The JSON of records, their files, and the page that holds them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from saccade.errors import ConfigError, NotFound, StorageError
from saccade.inspection.document import LEVELS, document, packed, unpacked
from saccade.inspection.page import SCRIPTS, embedded, page
from saccade.inspection.record import Side
from saccade.inspection.saving import save
from saccade.inspection.words import Tokens
from saccade.models.recording import AttentionKind, AttentionMap
from tests.inspection.records import ALL, LINE, record, translator

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028\u2029 <!-- {{DATA}} ' \""


@pytest.mark.parametrize("kind", ALL)
def test_every_record_is_plain_json(kind: str) -> None:
    found = record(kind)
    text = json.dumps(found.to_json(), allow_nan=False)
    [stored] = json.loads(text)["records"]
    assert json.loads(text)["format"] == "saccade-inspection" and json.loads(text)["version"] == 1
    for one, kept in zip(found.maps, stored["maps"], strict=True):
        weights = unpacked(kept["weights"], kept["shape"])
        assert np.abs(weights - one.weights.numpy()).max() <= 0.51 / LEVELS
        assert ((weights == 0) >= (one.weights.numpy() == 0)).all()
    for side, tokens in stored["tokens"].items():
        assert len(tokens["numbers"]) == len(tokens["pieces"]) == len(found.tokens[side].pieces)


def test_weights_are_numbers_of_sixteen_bits() -> None:
    weights = torch.tensor([[[0.0, 1.0], [0.25, 0.75]]])
    assert unpacked(packed(weights), (1, 2, 2)).tolist()[0][0] == [0.0, 1.0]
    torch.testing.assert_close(
        torch.tensor(unpacked(packed(weights), (1, 2, 2))).float(), weights, rtol=0, atol=1e-5
    )


def test_a_record_says_nothing_about_where_the_model_lies(tmp_path: Path) -> None:
    text = json.dumps(translator("transformer").inspect(LINE, name="model").to_json())
    assert str(tmp_path.parent) not in text and "/" not in json.dumps(json.loads(text)["records"][0]["model"])


def test_an_npz_file_holds_the_full_weights(tmp_path: Path) -> None:
    found = record("transformer")
    found.save(tmp_path / "one.npz")
    with np.load(tmp_path / "one.npz") as arrays:
        for one in found.maps:
            np.testing.assert_array_equal(arrays[f"{one.kind}_{one.layer}"], one.weights.numpy())
        assert arrays["source_pieces"].tolist() == list(found.tokens["source"].pieces)
        np.testing.assert_array_equal(arrays["erasure"], found.attributions[1].values.numpy())
        assert json.loads(str(arrays["document"]))["records"][0]["name"] == "transformer"


def test_files_are_json_or_a_page_and_other_names_are_refused(tmp_path: Path) -> None:
    found = record("transformer")
    found.save(tmp_path / "one.json")
    assert json.loads((tmp_path / "one.json").read_text(encoding="utf-8")) == found.to_json()
    save([found, found], tmp_path / "two.html")
    assert (tmp_path / "two.html").read_text(encoding="utf-8") == page(document([found, found]))
    with pytest.raises(ConfigError, match=r"one\.txt: the file's name must end in \.html"):
        found.save(tmp_path / "one.txt")
    with pytest.raises(ConfigError, match="holds one record, not 2"):
        save([found, found], tmp_path / "two.npz")
    with pytest.raises(NotFound, match="there is no folder"):
        found.save(tmp_path / "no" / "one.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        found.save(tmp_path / "folder.json")


def test_sixty_tokens_through_six_layers_of_eight_heads_fit_in_three_megabytes() -> None:
    found = record("transformer")
    pieces = tuple(f"▁token{number}" for number in range(60))
    tokens = Tokens(pieces, tuple(range(60)), pieces)
    kinds: list[tuple[AttentionKind, tuple[Side, Side]]] = [
        ("encoder", ("source", "source")),
        ("decoder", ("target", "read")),
        ("cross", ("target", "source")),
    ]
    large = replace(
        found,
        tokens={"source": tokens, "target": tokens, "read": tokens},
        maps=tuple(
            AttentionMap(kind, layer, torch.randn(8, 60, 60).softmax(-1))
            for kind, _ in kinds
            for layer in range(1, 7)
        ),
        sides=tuple(sides for _, sides in kinds for _ in range(6)),
        attributions=tuple(
            replace(one, values=torch.randn(60, 60, dtype=torch.float64)) for one in found.attributions
        ),
    )
    assert len(page(large.to_json()).encode()) < 3_000_000


class Elements(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts[-1] += data


def test_hostile_text_stays_data() -> None:
    found = record("transformer")
    pieces = (HOSTILE, *found.tokens["source"].pieces[1:])
    hostile = replace(
        found,
        name=HOSTILE,
        source=HOSTILE,
        tokens={**found.tokens, "source": Tokens(pieces, found.tokens["source"].numbers, pieces)},
    )
    elements = Elements()
    elements.feed(page(hostile.to_json()))
    assert [tag for tag, _ in elements.tags].count("script") == 2
    assert "img" not in [tag for tag, _ in elements.tags]
    assert json.loads(elements.scripts[0]) == json.loads(json.dumps(hostile.to_json()))
    assert not set("<\u2028\u2029") & set(embedded(hostile.to_json()))


def test_a_page_needs_no_network_and_never_makes_markup_of_text() -> None:
    folder = Path(page.__code__.co_filename).parent
    assert {path.name for path in folder.glob("*.js")} == set(SCRIPTS)
    for path in [folder / "page.html", folder / "page.css", *(folder / name for name in SCRIPTS)]:
        code = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        found = re.findall(
            r"https?:|innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|fetch\(|import\(|url\(",
            code,
        )
        assert not found, path.name
        assert len(code.splitlines()) < 300


def test_both_languages_have_the_same_texts() -> None:
    code = (Path(page.__code__.co_filename).parent / "strings.js").read_text(encoding="utf-8")
    english, chinese = code.split("  zh: {")
    keys = [
        re.findall(r"(?:^|[{,])\s*(\w+): [\"\[{]", part.split("};")[0], re.MULTILINE)
        for part in (english, chinese)
    ]
    assert [key for key in keys[0] if key != "en"] == keys[1]
    for name in SCRIPTS:
        script = (Path(page.__code__.co_filename).parent / name).read_text(encoding="utf-8")
        assert set(re.findall(r"\bt\(\"(\w+)\"", script)) <= set(keys[1]), name


def test_a_notebook_shows_the_page_in_a_frame_that_can_do_nothing_else() -> None:
    shown = record("transformer")._repr_html_()
    assert shown.startswith("<iframe srcdoc=") and 'sandbox="allow-scripts"' in shown
    elements = Elements()
    elements.feed(shown)
    assert [tag for tag, _ in elements.tags] == ["iframe"]
