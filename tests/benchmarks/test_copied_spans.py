"""Spans of markup are counted as often as source, reference and translation have them."""

from __future__ import annotations

from benchmarks.copied_spans import copied, spans


def test_code_and_roles_are_spans_and_a_link_is_none() -> None:
    found = spans("see ``a b``, :func:`!open`, :c:func:`PyLong_New`, `link`_ and ``a b``")
    assert dict(found) == {"``a b``": 2, ":func:`!open`": 1, ":c:func:`PyLong_New`": 1}


def test_a_span_counts_if_the_reference_has_it_and_only_as_often() -> None:
    sources = ["``x`` and ``x`` and ``y``", "``z``", "plain"]
    references = ["``x`` ``y``", "``z``", "plain"]
    translations = ["``x`` ``x``", "``Z``", "plain"]
    found = copied(sources, references, translations, known=["``z``"])
    assert found == {"spans": "33.3% of 3", "new spans": "50.0% of 2"}
