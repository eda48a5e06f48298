"""The structs that C takes, as ctypes declares them; the loaded library says whether they agree."""

import ctypes
from collections.abc import Iterable

_INT64, _INT32, _UINT64, _UINT32 = ctypes.c_int64, ctypes.c_int32, ctypes.c_uint64, ctypes.c_uint32
_FLOAT, _POINTER = ctypes.c_float, ctypes.c_void_p


class CLinear(ctypes.Structure):
    """`Linear` of linear.h."""

    _fields_ = [
        ("inputs", _INT64),
        ("outputs", _INT64),
        ("weight", _POINTER),
        ("scale", _POINTER),
        ("total", _POINTER),
        ("bias", _POINTER),
    ]


class CLayerNorm(ctypes.Structure):
    """`LayerNorm` of stack.h."""

    _fields_ = [("weight", _POINTER), ("bias", _POINTER), ("epsilon", _FLOAT)]


class CLayer(ctypes.Structure):
    """`Layer` of stack.h."""

    _fields_ = [
        ("query_key_value", CLinear),
        ("self_output", CLinear),
        ("positional_value", CLinear),
        ("positional_output", CLinear),
        ("cross_query", CLinear),
        ("cross_output", CLinear),
        ("inner", CLinear),
        ("outer", CLinear),
        ("self_norm", CLayerNorm),
        ("positional_norm", CLayerNorm),
        ("cross_norm", CLayerNorm),
        ("feed_forward_norm", CLayerNorm),
        ("window", _INT64),
    ]


class CStack(ctypes.Structure):
    """`Stack` of stack.h."""

    _fields_ = [
        ("width", _INT64),
        ("heads", _INT64),
        ("feed_forward", _INT64),
        ("count", _INT64),
        ("layers", ctypes.POINTER(CLayer)),
        ("embedding", _POINTER),
        ("vocabulary", _INT64),
        ("final", CLayerNorm),
        ("scale", _FLOAT),
        ("pre_norm", _INT32),
        ("activation", _INT32),
    ]


class CSequences(ctypes.Structure):
    """`Sequences` of sequences.c."""

    _fields_ = [
        ("batch", _INT64),
        ("longest", _INT64),
        ("mask", _INT64),
        ("lengths", _POINTER),
        ("tokens", _POINTER),
        ("x", _POINTER),
        ("out", _POINTER),
        ("sentences", _INT64),
        ("memory_longest", _INT64),
        ("memory", _POINTER),
        ("memory_lengths", _POINTER),
        ("sentence", _POINTER),
        ("table_length", _INT64),
        ("positions", _POINTER),
        ("positional", _POINTER),
    ]


class CStep(ctypes.Structure):
    """`Step` of step.c."""

    _fields_ = [
        ("rows", _INT64),
        ("position", _INT64),
        ("longest", _INT64),
        ("batch", _INT64),
        ("room", _INT64),
        ("tokens", _POINTER),
        ("sentence", _POINTER),
        ("lengths", _POINTER),
        ("memory", _POINTER),
        ("ancestors", _POINTER),
        ("past", _POINTER),
        ("past_rows", _POINTER),
        ("logits", _POINTER),
        ("table_length", _INT64),
        ("positions", _POINTER),
    ]


class CView(ctypes.Structure):
    """`View` of attention.c."""

    _fields_ = [("data", _POINTER), ("batch", _INT64), ("head", _INT64), ("row", _INT64)]


class CAttention(ctypes.Structure):
    """`Attention` of attention.c."""

    _fields_ = [
        ("batch", _INT64),
        ("heads", _INT64),
        ("queries", _INT64),
        ("keys", _INT64),
        ("width", _INT64),
        ("visible", _POINTER),
        ("causal", _INT32),
        ("low", _INT32),
        ("scale", _FLOAT),
        ("drop", _UINT32),
        ("seed", _UINT64),
        ("logsumexp", _POINTER),
    ]


class CResidualNorm(ctypes.Structure):
    """`ResidualNorm` of residual.c."""

    _fields_ = [
        ("rows", _INT64),
        ("width", _INT64),
        ("epsilon", _FLOAT),
        ("drop", _UINT32),
        ("seed", _UINT64),
        ("weight", _POINTER),
        ("bias", _POINTER),
        ("sum", _POINTER),
        ("mean", _POINTER),
        ("scale", _POINTER),
        ("low", _INT32),
        ("threads", _INT32),
    ]


MIRRORS: tuple[type[ctypes.Structure], ...] = (
    CLinear,
    CLayerNorm,
    CLayer,
    CStack,
    CSequences,
    CStep,
    CView,
    CAttention,
    CResidualNorm,
)


class _CField(ctypes.Structure):
    """`Field` of layout.h."""

    _fields_ = [("name", ctypes.c_char_p), ("offset", _INT64), ("size", _INT64)]


def mismatch(library: ctypes.CDLL, mirrors: Iterable[type[ctypes.Structure]] = MIRRORS) -> str | None:
    """Where Python and C do not agree on how a struct lies in memory; None if they agree everywhere."""
    for mirror in mirrors:
        name = mirror.__name__.removeprefix("C")
        fields = [
            (field[0], getattr(mirror, field[0]).offset, getattr(mirror, field[0]).size)
            for field in mirror._fields_
        ]
        expected, size = _layout(library, name)
        if expected is None:
            return f"struct {name} is missing from the compiled kernels"
        for ours, theirs in zip(fields, expected, strict=False):
            if ours != theirs:
                return f"struct {name}: (field, offset, size) is {ours} in Python and {theirs} in C"
        if len(fields) != len(expected) or ctypes.sizeof(mirror) != size:
            return (
                f"struct {name} has {len(fields)} fields in {ctypes.sizeof(mirror)} bytes in Python, "
                f"{len(expected)} in {size} in C"
            )
    return None


def _layout(library: ctypes.CDLL, name: str) -> tuple[list[tuple[str, int, int]] | None, int]:
    """The fields that C has, each (name, offset, size), and the size of the struct."""
    try:
        first = _CField.in_dll(library, f"layout_{name}")
    except ValueError:
        return None, 0
    entries = ctypes.cast(ctypes.pointer(first), ctypes.POINTER(_CField))
    fields: list[tuple[str, int, int]] = []
    while entries[len(fields)].name is not None:
        entry = entries[len(fields)]
        fields.append((entry.name.decode(), entry.offset, entry.size))
    return fields, entries[len(fields)].offset
