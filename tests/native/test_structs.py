from __future__ import annotations

import ctypes
from typing import Any

import pytest

from saccade.native import structs
from saccade.native.library import library, why_not

if library() is None:
    pytest.skip(f"no kernels here: {why_not()}", allow_module_level=True)


def changed(mirror: type[ctypes.Structure], fields: list[Any]) -> type[ctypes.Structure]:
    return type(mirror.__name__, (ctypes.Structure,), {"_fields_": fields})


def test_python_and_c_agree_on_every_struct() -> None:
    found = library()
    assert found is not None
    assert structs.mismatch(found) is None


@pytest.mark.parametrize("mirror", structs.MIRRORS)
def test_every_change_of_a_struct_is_noticed(mirror: type[ctypes.Structure]) -> None:
    found = library()
    assert found is not None
    fields: list[Any] = list(mirror._fields_)
    for place, (name, kind) in enumerate(fields):
        before, after = fields[:place], fields[place + 1 :]
        narrower = ctypes.c_int16 if ctypes.sizeof(kind) != 2 else ctypes.c_int8
        for wrong in (
            [*before, *after],
            [*before, (name, narrower), *after],
            [*before, ("renamed", kind), *after],
            [*before, ("added", ctypes.c_int64), (name, kind), *after],
            [*before, *after[:1], (name, kind), *after[1:]] if after else before,
        ):
            message = structs.mismatch(found, [changed(mirror, wrong)])
            assert message is not None
            assert mirror.__name__.removeprefix("C") in message


def test_a_struct_that_c_does_not_have_is_noticed() -> None:
    found = library()
    assert found is not None
    unknown = type("CUnknown", (ctypes.Structure,), {"_fields_": [("x", ctypes.c_int64)]})
    assert structs.mismatch(found, [unknown]) == "struct Unknown is missing from the compiled kernels"
