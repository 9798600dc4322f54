"""ResNet-15's features on a CPU in C++ (`models/cpu/resnet.cc`); `resnet.ResNetFeatures` is the definition.

On a CPU, XLA computes the convolutions at half the processor's speed, transfers every map through memory
several times, and multiplies the zeros, 97 % of a detector image. The C++ code runs one event at a time
through the whole network, and starts from the nonzero pixels; see benchmarks/README.md.

`models.cpu.library` compiles it on first use and compares its speed with XLA. XLA computes the network if the
C++ library is slower or cannot be used.
"""

import ctypes
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

from e2e_jax.execution.workers import available_cores
from e2e_jax.models.cpu import library as cpu_library

WIDTHS = ((16, 32), (16, 16))
"""Maps before and after the downsampling that the C++ code supports."""

BLOCKS = 3
SIDE = 7

KEPT = 0.6e9
"""Maximum bytes of maps stored for a batch's gradient. For larger batches the outputs of the blocks' first
convolutions (45 % of the maps) are not stored but computed again: 7 of 15 convolutions."""


def usable(widths, x):
    """Whether the C++ library is available and supports the images' type and the network's widths."""
    known = x.dtype == jnp.float32 and tuple(widths) in WIDTHS
    return known and load()


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def features(params, x, widths, plain):
    """The maxima of the network's last maps, as `resnet.ResNetFeatures` computes them.

    Args:
      params: the parameters of `ResNetFeatures`.
      x: images f4[n, rows, columns, channels].
      widths: maps before and after the downsampling.
      plain: the same function of (params, x) in XLA. It computes the gradient of the images on request;
        training does not need that gradient.

    Returns:
      f4[n, widths[1]].
    """
    return _forward_call(widths, "nothing")(x, _flatten(params))[0]


def _features_forward(params, x, widths, plain):
    flat = _flatten(params)
    keep = "all" if 4 * len(x) * _kept(x.shape, widths, "all") <= KEPT else "outputs"
    values, *kept = _forward_call(widths, keep)(x, flat)
    return values, (params, x, flat, *kept)


def _features_backward(widths, plain, kept, gradient):
    params, x, flat, *rest = kept
    of_flat = _backward_call(widths)(x, flat, gradient, *rest)
    (of_x,) = jax.vjp(lambda x: plain(params, x), x)[1](gradient)
    return jax.linear_transpose(_flatten, params)(of_flat)[0], of_x


features.defvjp(_features_forward, _features_backward)


def _flatten(params):
    """All parameters as one flat array, in the order in which the network uses them."""
    parts = []
    for block in ("stem", *_numbered("narrow"), "downsample", *_numbered("wide")):
        layers = (
            [params[block]] if block == "stem" else [params[block][layer] for layer in ("conv1", "conv2")]
        )
        if block == "downsample":
            layers.append(params[block]["shortcut"])
        parts += [layer[name].ravel() for layer in layers for name in ("kernel", "bias")]
    return jnp.concatenate(parts)


def _numbered(name):
    return (f"{name}{i}" for i in range(BLOCKS))


@functools.cache
def _forward_call(widths, keep):
    """(images, parameters) -> features, their pixels, the maps to `keep`, indices of the pooling maxima."""

    def call(x, flat):
        n, pooled = x.shape[0], math.prod(_shapes(x.shape, widths)[0])
        results = (
            jax.ShapeDtypeStruct((n, widths[1]), jnp.float32),
            jax.ShapeDtypeStruct((n, widths[1]), jnp.int32),
            jax.ShapeDtypeStruct((n, _kept(x.shape, widths, keep)), jnp.float32),
            jax.ShapeDtypeStruct((n, 0 if keep == "nothing" else pooled), jnp.uint8),
        )
        return jax.ffi.ffi_call("e2e_resnet_forward", results)(x, flat, **_attributes(widths))

    return _by_events(call, "n r c k, p -> n f, n g, n m, n w", summed=False)


@functools.cache
def _backward_call(widths):
    """(images, parameters, gradient of the features, forward results) -> gradient of the parameters."""

    def call(x, flat, gradient, where, maps, winners):
        result = jax.ShapeDtypeStruct(flat.shape, jnp.float32)
        operands = (x, flat, gradient, where, maps, winners)
        return jax.ffi.ffi_call("e2e_resnet_backward", result)(*operands, **_attributes(widths))

    return _by_events(call, "n r c k, p, n f, n g, n m, n w -> p", summed=True)


def _by_events(call, rule, summed):
    """`call` with its events distributed over a mesh; `summed`: whether the result is a sum over events."""
    partitioned = custom_partitioning(call)

    def partition(mesh, arguments, results):
        spec = arguments[0].sharding.spec
        axis = spec[0] if len(spec) else None
        split, whole = NamedSharding(mesh, PartitionSpec(axis)), NamedSharding(mesh, PartitionSpec())

        def local(*operands):
            result = call(*operands)
            return jax.lax.psum(result, axis) if summed and axis is not None else result

        takes = tuple(whole if i == 1 else split for i in range(len(arguments)))
        return mesh, local, whole if summed else tuple(split for _ in results), takes

    partitioned.def_partition(partition=partition, sharding_rule=rule)
    return partitioned


def _shapes(images, widths):
    """(rows, columns, maps) of the network's maps before and after the downsampling."""
    narrow = tuple(((size + 2 - SIDE) // 2 + 1) // 2 for size in images[1:3])
    wide = tuple(-(-size // 2) for size in narrow)
    return (*narrow, widths[0]), (*wide, widths[1])


def _kept(images, widths, keep):
    """Length of an event's stored maps; the C++ code infers from it which maps are stored."""
    of_block = {"nothing": 0, "outputs": 1, "all": 2}[keep]
    if not of_block:
        return 0
    narrow, wide = map(_padded, _shapes(images, widths))
    return (1 + of_block * BLOCKS) * narrow + of_block * (1 + BLOCKS) * wide


def _padded(shape):
    return (shape[0] + 2) * (shape[1] + 2) * shape[2]


def _attributes(widths):
    """With several devices, each uses its share of the cores; a single device uses all."""
    threads = max(1, available_cores() // jax.local_device_count("cpu"))
    values = {"wide": widths[1], "blocks": BLOCKS, "threads": threads}
    return {name: np.int64(value) for name, value in values.items()}


@functools.cache
def _chosen():
    """The library of this machine, bound to JAX, and a description of what computes the network."""
    library, words = cpu_library.chosen()
    if library is not None:
        bind(library.path)
    return library, words


def load():
    """Compiles and binds the C++ code on first use; returns whether it computes the network."""
    return _chosen()[0] is not None


def describe():
    """A line with what computes the network on this CPU, C++ or XLA, and the ratio of their times."""
    return _chosen()[1]


def bind(path):
    """Registers a compiled library's functions with JAX."""
    library = ctypes.CDLL(str(path))
    for name in ("resnet_forward", "resnet_backward"):
        capsule = jax.ffi.pycapsule(getattr(library, name))
        jax.ffi.register_ffi_target(f"e2e_{name}", capsule, platform="cpu")
