"""Translates JAX operations to ONNX, one function each: (graph, equation, operands) -> result.

The operations of JAX are documented at docs.jax.dev (jax.lax), those of ONNX at onnx.ai/onnx/operators.
Operands are tensors of the graph or numpy arrays; the equation has the operation's parameters and shapes.
"""

from __future__ import annotations

import string

import numpy as np
from onnx import TensorProto, helper

from e2e_jax.inference.export import onnx_shapes
from e2e_jax.inference.export.onnx_shapes import onnx_type, permuted, refuse, taken

INLINED = {
    **dict.fromkeys(("jit", "pjit", "remat2", "checkpoint"), "jaxpr"),
    **dict.fromkeys(("closed_call", "custom_jvp_call", "custom_vjp_call"), "call_jaxpr"),
}
"""Operations that contain a program, and the parameter with this program."""


def _same(operation):
    """Translate to one ONNX operation."""
    return lambda graph, equation, *operands: graph.node(operation, *operands)


def _identity(graph, equation, operand):
    return operand


def _logical(operation):
    def translate(graph, equation, *operands):
        if taken(equation).dtype != bool:
            refuse(equation, "bits of integers")
        return graph.node(operation, *operands)

    return translate


def _not_equal(graph, equation, a, b):
    return graph.node("Not", graph.node("Equal", a, b))


def _is_finite(graph, equation, x):
    return graph.node("Not", graph.node("Or", graph.node("IsNaN", x), graph.node("IsInf", x)))


def _remainder(graph, equation, a, b):
    return graph.node("Mod", a, b, fmod=1)


def _integer_power(graph, equation, x):
    return graph.node("Pow", x, np.array(equation.params["y"], taken(equation).dtype))


def _inverse_root(graph, equation, x):
    return graph.node("Reciprocal", graph.node("Sqrt", x))


def _square(graph, equation, x):
    return graph.node("Mul", x, x)


def _angle(graph, equation, y, x):
    """The angle of (x, y), -pi to pi; ONNX has it only for x > 0."""
    half = graph.node("Atan", graph.node("Div", y, x))
    turn = graph.node("Where", graph.node("Less", y, np.float32(0)), np.float32(-np.pi), np.float32(np.pi))
    angle = graph.node("Where", graph.node("Less", x, np.float32(0)), graph.node("Add", half, turn), half)
    upright = graph.node("Mul", graph.node("Sign", y), np.float32(np.pi / 2))
    return graph.node("Where", graph.node("Equal", x, np.float32(0)), upright, angle)


def _arg_max(graph, equation, x):
    (axis,) = equation.params["axes"]
    return graph.node("Cast", graph.node("ArgMax", x, axis=axis, keepdims=0), to=TensorProto.INT32)


def _clamp(graph, equation, low, x, high):
    return graph.node("Min", graph.node("Max", x, low), high)


def _select(graph, equation, which, *cases):
    if len(cases) != 2 or taken(equation).dtype != bool:
        refuse(equation, "more than two cases")
    if taken(equation, 1).dtype == bool:  # onnxruntime selects only between numbers
        yes, no = graph.node("And", which, cases[1]), graph.node("And", graph.node("Not", which), cases[0])
        return graph.node("Or", yes, no)
    return graph.node("Where", which, cases[1], cases[0])


def _convert(graph, equation, x):
    return graph.node("Cast", x, to=helper.np_dtype_to_tensor_dtype(onnx_type(equation.params["new_dtype"])))


def product(graph, equation, a, b):
    """A matrix product, or an Einsum for other axes."""
    (left, right), (left_batch, right_batch) = equation.params["dimension_numbers"]
    ranks = [len(taken(equation, i).shape) for i in (0, 1)]
    if ranks == [2, 2] and (tuple(left), tuple(right)) == ((1,), (0,)):
        return graph.node("MatMul", a, b)
    letters = iter(string.ascii_letters)
    names = [[next(letters) for _ in range(rank)] for rank in ranks]
    for i, j in zip([*left, *left_batch], [*right, *right_batch]):
        names[1][j] = names[0][i]
    batch = [names[0][i] for i in left_batch]
    rest = [n for i, n in enumerate(names[0]) if i not in (*left, *left_batch)]
    rest += [n for j, n in enumerate(names[1]) if j not in (*right, *right_batch)]
    terms = ",".join("".join(part) for part in names) + "->" + "".join(batch + rest)
    return graph.node("Einsum", a, b, equation=terms)


def convolution(graph, equation, x, kernel):
    p = equation.params
    if set(p["lhs_dilation"]) != {1} or p["batch_group_count"] != 1 or np.min(p["padding"]) < 0:
        refuse(equation, "dilated images, groups of events or negative padding")
    images, kernels, out = p["dimension_numbers"]
    (before, after) = zip(*p["padding"])
    made = graph.node(
        "Conv",
        permuted(graph, x, images),
        permuted(graph, kernel, kernels),
        strides=p["window_strides"],
        pads=[*before, *after],
        dilations=p["rhs_dilation"],
        group=p["feature_group_count"],
    )
    return permuted(graph, made, np.argsort(out))


def max_pool(graph, equation, x):
    p = equation.params
    window = p["window_dimensions"]
    outer = [axis for axis, size in enumerate(window) if size == 1]
    inner = [axis for axis, size in enumerate(window) if size != 1]
    moved = any(p["window_strides"][axis] != 1 or any(p["padding"][axis]) for axis in outer)
    if len(outer) != 2 or moved or set(p["base_dilation"]) != {1}:
        refuse(equation, "other than two axes that stay as they are")
    order = [*outer, *inner]
    before, after = zip(*(p["padding"][axis] for axis in inner))
    pooled = graph.node(
        "MaxPool",
        permuted(graph, x, order),
        kernel_shape=[window[axis] for axis in inner],
        strides=[p["window_strides"][axis] for axis in inner],
        pads=[*before, *after],
        dilations=[p["window_dilation"][axis] for axis in inner],
    )
    return permuted(graph, pooled, np.argsort(order))


def _reduce(operation):
    def translate(graph, equation, x):
        axes = np.array(equation.params["axes"], np.int64)
        # Without axes ONNX would reduce all of them.
        return graph.node(operation, x, axes, keepdims=0, noop_with_empty_axes=1)

    return translate


def _any(graph, equation, x):
    number = graph.node("Cast", x, to=TensorProto.FLOAT)
    return graph.node("Cast", _reduce("ReduceMax")(graph, equation, number), to=TensorProto.BOOL)


def _scan(graph, equation, operands):
    """A loop with a fixed number of iterations, unrolled."""
    p = equation.params
    constants, carried = operands[: p["num_consts"]], operands[p["num_consts"] :]
    if len(carried) != p["num_carry"] or len(equation.outvars) != p["num_carry"]:
        refuse(equation, "what is stacked over its turns")
    for _ in range(p["length"]):
        carried = graph.run(p["jaxpr"].jaxpr, p["jaxpr"].consts, [*constants, *carried])
    return carried


def _top_k(graph, equation, operands):
    """The largest entries along the last axis, and their indices."""
    p = equation.params
    name = graph.node("Identity", operands[0]).name
    values, places = graph.nodes(
        "TopK", operands[0], np.array([p["k"]], np.int64), names=[f"{name}.values", f"{name}.places"], axis=-1
    )
    return [values, graph.node("Cast", places, to=TensorProto.INT32)]


def _log_of_one_more(graph, equation, x):
    return graph.node("Log", graph.node("Add", x, np.float32(1)))


def _branch(graph, equation, operands):
    """The default program of a choice by platform; other choices are not supported."""
    platforms = equation.params.get("branches_platforms")
    if not platforms or None not in platforms:
        refuse(equation, "choices other than by platform")
    chosen = equation.params["branches"][platforms.index(None)]
    return graph.run(chosen.jaxpr, chosen.consts, operands[1:])


def _nothing(graph, equation, operands):
    return [np.int32(0)]


def _size(graph, equation, operands):
    """A symbolic size as a number."""
    size = graph.node("Cast", graph.size(equation.params["dim"]), to=TensorProto.INT32)
    return [graph.node("Squeeze", size, np.array([0]))]


STRUCTURED = {
    "cond": _branch,
    "dim_as_value": _size,
    "platform_index": _nothing,
    "scan": _scan,
    "top_k": _top_k,
}
"""Operations with several programs, without operands or with several results: (graph, equation, [operands])
-> [results]."""

_BY_THEMSELVES = "abs add asinh cos cosh div exp floor log max min mul neg pow sign sin sinh sqrt sub tanh"

OPERATIONS = {name: _same(name.capitalize()) for name in _BY_THEMSELVES.split()} | {
    "and": _logical("And"),
    "argmax": _arg_max,
    "atan2": _angle,
    "broadcast_in_dim": onnx_shapes.broadcast,
    "clamp": _clamp,
    "concatenate": onnx_shapes.concatenate,
    "conv_general_dilated": convolution,
    "convert_element_type": _convert,
    "copy": _identity,
    "dot_general": product,
    "eq": _same("Equal"),
    "expand_dims": onnx_shapes.reshape,
    "gather": onnx_shapes.gather,
    "ge": _same("GreaterOrEqual"),
    "gt": _same("Greater"),
    "integer_pow": _integer_power,
    "iota": onnx_shapes.iota,
    "is_finite": _is_finite,
    "le": _same("LessOrEqual"),
    "log1p": _log_of_one_more,
    "logistic": _same("Sigmoid"),
    "lt": _same("Less"),
    "lt_to": _same("Less"),
    "ne": _not_equal,
    "not": _logical("Not"),
    "or": _logical("Or"),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"),
    "reduce_or": _any,
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_window_max": max_pool,
    "rem": _remainder,
    "reshape": onnx_shapes.reshape,
    "rsqrt": _inverse_root,
    "scatter-add": onnx_shapes.scatter_add,
    "select_n": _select,
    "slice": onnx_shapes.cut,
    "square": _square,
    "squeeze": onnx_shapes.reshape,
    "stack": onnx_shapes.stack,
    "stop_gradient": _identity,
    "transpose": onnx_shapes.transpose,
    "xor": _logical("Xor"),
}
"""Operations with one result: (graph, equation, *operands) -> result."""
