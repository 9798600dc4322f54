"""Translates the JAX operations that arrange, slice, look up and place entries to ONNX.

As in `onnx_operations`, each function is (graph, equation, *operands) -> result.
"""

from __future__ import annotations

import numpy as np
from jax import lax
from onnx import TensorProto, helper

from e2e_jax.inference.export.signature import ExportError


def portable(array):
    """An array with a type that every ONNX operation takes: all integers except sizes are int32."""
    array = np.asarray(array)
    return array.astype(onnx_type(array.dtype)) if array.dtype != np.int64 else array


def onnx_type(dtype):
    """The ONNX type of an array's type."""
    return np.dtype(np.int32) if np.issubdtype(dtype, np.integer) else np.dtype(dtype)


def made(equation):
    """Shape and type of an operation's result."""
    return equation.outvars[0].aval


def taken(equation, operand=0):
    """Shape and type of one of an operation's operands."""
    return equation.invars[operand].aval


def refuse(equation, what):
    """Raise the error for an unsupported use of an operation."""
    raise ExportError(
        f"The ONNX export knows {equation.primitive.name!r} without {what} "
        f"({equation.source_info.name_stack}). Export the classifier as stablehlo."
    )


def reshape(graph, equation, x):
    """The operand in the shape of the result."""
    return graph.node("Reshape", x, graph.shape(made(equation).shape), allowzero=1)


def broadcast(graph, equation, x, *_):
    """Insert missing axes with length 1, then expand each axis to its length."""
    sizes, places = made(equation).shape, equation.params["broadcast_dimensions"]
    aligned = [1] * len(sizes)
    for place, size in zip(places, taken(equation).shape):
        aligned[place] = size
    if tuple(aligned) != tuple(taken(equation).shape):
        x = graph.node("Reshape", x, graph.shape(aligned), allowzero=1)
    return x if tuple(aligned) == tuple(sizes) else graph.node("Expand", x, graph.shape(sizes))


def stack(graph, equation, *parts):
    """As `jnp.stack`."""
    axis, sizes = equation.params["axis"], made(equation).shape
    flat = graph.shape([*sizes[:axis], 1, *sizes[axis + 1 :]])
    return graph.node("Concat", *(graph.node("Reshape", x, flat, allowzero=1) for x in parts), axis=axis)


def transpose(graph, equation, x):
    """As `lax.transpose`."""
    return permuted(graph, x, equation.params["permutation"])


def permuted(graph, x, order):
    """The operand with its axes in another order."""
    if isinstance(x, np.ndarray):
        return np.transpose(x, order)
    return graph.node("Transpose", x, perm=list(map(int, order)))


def concatenate(graph, equation, *parts):
    """As `lax.concatenate`."""
    return graph.node("Concat", *parts, axis=equation.params["dimension"])


def cut(graph, equation, x):
    """As `lax.slice`."""
    names = ("start_indices", "limit_indices", "strides")
    starts, ends, steps = (equation.params[name] for name in names)
    axes = np.arange(len(starts))
    return graph.node(
        "Slice", x, graph.shape(starts), graph.shape(ends), axes, np.array(steps or axes * 0 + 1)
    )


def iota(graph, equation):
    """As `lax.iota`, also for symbolic sizes."""
    sizes, axis = made(equation).shape, equation.params["dimension"]
    stop = graph.node("Squeeze", graph.size(sizes[axis]), np.array([0]))
    steps = graph.node("Range", np.array(0, np.int64), stop, np.array(1, np.int64))
    aligned = [1] * len(sizes)
    aligned[axis] = sizes[axis]
    steps = graph.node("Cast", steps, to=helper.np_dtype_to_tensor_dtype(onnx_type(equation.params["dtype"])))
    return graph.node("Expand", graph.node("Reshape", steps, graph.shape(aligned)), graph.shape(sizes))


def gather(graph, equation, x, indices):
    """Entries of a table at computed indices, or a fixed slice."""
    p, sizes = equation.params, taken(equation).shape
    numbers, slices = p["dimension_numbers"], p["slice_sizes"]
    indexed = numbers.start_index_map
    if isinstance(indices, np.ndarray) and indices.ndim == 1 and not numbers.operand_batching_dims:
        starts = [min(max(int(i), 0), sizes[axis] - slices[axis]) for axis, i in zip(indexed, indices)]
        ends = [start + slices[axis] for axis, start in zip(indexed, starts)]
        return reshape(graph, equation, graph.node("Slice", x, *map(np.array, (starts, ends, indexed))))
    if numbers.operand_batching_dims:
        return _along(graph, equation, x, indices)
    whole = [size if axis not in indexed else 1 for axis, size in enumerate(sizes)]
    batch = len(taken(equation, 1).shape) - 1
    trailing = numbers.offset_dims == tuple(range(batch, len(made(equation).shape)))
    in_order = indexed == tuple(range(len(indexed))) and tuple(slices) == tuple(whole) and trailing
    if not in_order or p["mode"] == lax.GatherScatterMode.FILL_OR_DROP:
        refuse(equation, "slices other than entries of a table by its first axes")
    last = np.array([sizes[axis] - 1 for axis in indexed], np.int32)
    inside = graph.node("Min", graph.node("Max", indices, np.int32(0)), last)
    inside = graph.node("Cast", inside, to=helper.np_dtype_to_tensor_dtype(np.dtype(np.int64)))
    return reshape(graph, equation, graph.node("GatherND", x, inside))


def _along(graph, equation, x, indices):
    """Entries along the last axis, with indices per position on the other axes (`take_along_axis`)."""
    p, sizes = equation.params, taken(equation).shape
    numbers, last = p["dimension_numbers"], len(sizes) - 1
    before = tuple(range(last))
    along = numbers.operand_batching_dims == numbers.start_indices_batching_dims == before
    if not along or numbers.start_index_map != (last,) or numbers.offset_dims:
        refuse(equation, "batches other than of entries along the last axis")
    indices = reshape(graph, equation, indices)
    size = graph.node("Cast", graph.size(sizes[last]), to=TensorProto.INT32)
    nearest = graph.node("Max", graph.node("Min", indices, graph.node("Sub", size, np.int32(1))), np.int32(0))
    entries = graph.node("GatherElements", x, nearest, axis=last)
    if p["mode"] != lax.GatherScatterMode.FILL_OR_DROP:
        return entries
    if taken(equation).dtype != np.float32:
        refuse(equation, "integers that are filled in")
    return graph.node("Where", graph.node("Equal", nearest, indices), entries, np.float32(np.nan))


def scatter_add(graph, equation, x, indices, updates):
    """Add each update to one entry; its index counts all axes after the batch axes as one."""
    p, sizes = equation.params, taken(equation).shape
    numbers, batch = p["dimension_numbers"], len(p["dimension_numbers"].operand_batching_dims)
    inner = tuple(range(batch, len(sizes)))
    plain = numbers.operand_batching_dims == numbers.scatter_indices_batching_dims == tuple(range(batch))
    complete = numbers.inserted_window_dims == inner and numbers.scatter_dims_to_operand_dims == inner
    drawn = len(taken(equation, 1).shape) == batch + 2
    if not (plain and complete and drawn) or numbers.update_window_dims:
        refuse(equation, "windows: each update is one entry of a list")
    lengths = np.array([sizes[axis] for axis in inner], np.int32)
    strides = np.append(np.cumprod(lengths[::-1])[-2::-1], 1).astype(np.int32)
    nearest = graph.node("Min", graph.node("Max", indices, np.int32(0)), lengths - 1)
    outside = graph.node("Not", graph.node("Equal", nearest, indices))
    outside = graph.node(
        "ReduceMax", graph.node("Cast", outside, to=TensorProto.FLOAT), np.array([batch + 1]), keepdims=0
    )
    place = graph.node("ReduceSum", graph.node("Mul", nearest, strides), np.array([batch + 1]), keepdims=0)
    dropped = graph.node("Where", graph.node("Cast", outside, to=TensorProto.BOOL), np.float32(0), updates)
    flat = graph.node("Reshape", x, graph.shape([*sizes[:batch], int(np.prod(lengths))]), allowzero=1)
    added = graph.node("ScatterElements", flat, place, dropped, axis=batch, reduction="add")
    return graph.node("Reshape", added, graph.shape(sizes), allowzero=1)
