"""Converts the program that JAX traces to ONNX: every operation of the scoring function becomes an ONNX node.

So a new network, geometry or preprocessing needs no code here. If it uses an operation that is missing in
`onnx_operations`, the error names it. Integers are int32 in the file.
"""

from __future__ import annotations

import ast
import json

import jax
import numpy as np
import onnx
from jax.extend import core
from onnx import TensorProto, helper, numpy_helper

from e2e_jax import __version__
from e2e_jax.errors import ExportError
from e2e_jax.inference.export import onnx_operations, onnx_shapes
from e2e_jax.inference.export.signature import flat_names, output_name, scoring_function

OPSET = 18
"""Version of July 2022, the first whose ReduceMax takes its axes as an input."""

IR_VERSION = 9


def to_bytes(classifier, shapes):
    """The scoring function of a classifier as the bytes of an ONNX model.

    Args:
      classifier: the classifier.
      shapes: its inputs, from `signature.input_shapes`; in the model they have the names of
        `signature.flat_names`.

    Raises:
      ExportError: an operation of the classifier is not supported.
    """
    score = scoring_function(classifier)
    leaves, structure = jax.tree.flatten(shapes)
    program = jax.make_jaxpr(lambda *leaves: score(jax.tree.unflatten(structure, leaves)))(*leaves)
    graph = Graph(flat_names(shapes))
    (result,) = graph.run(program.jaxpr, program.consts, list(graph.inputs))
    graph.node("Identity", result, name=output_name(classifier))
    model = graph.model(classifier, program.out_avals[0].shape)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def scorer(content):
    """The function inputs -> probabilities of a model's bytes, with onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, {k: np.asarray(v) for k, v in flat_names(inputs).items()})[0]


class Graph:
    """An ONNX graph under construction. A value in it is a numpy array, or the name of a tensor (a `Tensor`).

    Attributes:
      inputs: the input tensors of the model.
    """

    def __init__(self, shapes):
        self._shapes = shapes
        self.inputs = [Tensor(name) for name in shapes]
        self._nodes, self._constants, self._sizes = [], {}, {}
        for tensor, shape in zip(self.inputs, shapes.values()):
            for axis, size in enumerate(shape.shape):
                if not isinstance(size, int) and str(size) not in self._sizes:
                    self._sizes[str(size)] = self.node("Shape", tensor, start=axis, end=axis + 1)

    def run(self, program, constants, arguments):
        """Add the operations of a jaxpr; returns its results. Values without inputs are computed here."""
        values = dict(zip([*program.constvars, *program.invars], [*map(np.asarray, constants), *arguments]))

        def value_of(atom):
            return np.asarray(atom.val) if isinstance(atom, core.Literal) else values[atom]

        for equation in program.eqns:
            operands = [value_of(atom) for atom in equation.invars]
            values |= zip(equation.outvars, self._results(equation, operands))
        return [value_of(atom) for atom in program.outvars]

    def node(self, operation, *operands, name=None, **attributes):
        """Add a node with one result, and return the result."""
        return self.nodes(operation, *operands, names=[name or f"t{len(self._nodes)}"], **attributes)[0]

    def nodes(self, operation, *operands, names, **attributes):
        """Add a node with several results of these names, and return them."""
        operands = [self._named(value) for value in operands]
        self._nodes.append(helper.make_node(operation, operands, names, **attributes))
        return [Tensor(name) for name in names]

    def shape(self, sizes):
        """A shape as a value, int64 `[rank]`; symbolic sizes are computed from the inputs' shapes."""
        if all(isinstance(size, int | np.integer) for size in sizes):
            return np.array(sizes, np.int64)
        return self.node("Concat", *(self.size(size) for size in sizes), axis=0)

    def size(self, size):
        """One size as a value, int64 `[1]`."""
        if isinstance(size, int | np.integer):
            return np.array([size], np.int64)
        if str(size) not in self._sizes:
            self._sizes[str(size)] = self._computed(ast.parse(str(size), mode="eval").body, size)
        return self._sizes[str(size)]

    def model(self, classifier, shape):
        """The finished model, with its provenance in its metadata."""
        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(np.dtype(s.dtype)), _axes(s.shape)
            )
            for name, s in self._shapes.items()
        ]
        output = helper.make_tensor_value_info(output_name(classifier), TensorProto.FLOAT, _axes(shape))
        constants = [numpy_helper.from_array(array, name) for name, array in self._constants.values()]
        graph = helper.make_graph(self._nodes, classifier.name, inputs, [output], constants)
        opset = [helper.make_operatorsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
        model.producer_name, model.producer_version = "e2e_jax", __version__
        names = {"classes": ",".join(classifier.classes), "columns": ",".join(classifier.columns)}
        notes = {**names, "task": json.dumps(classifier.task.to_json())}
        helper.set_model_props(model, notes)
        return model

    def _results(self, equation, operands):
        name = equation.primitive.name
        if name in onnx_operations.INLINED:
            inner = equation.params[onnx_operations.INLINED[name]]
            # A closed jaxpr contains its constants.
            return self.run(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), operands)
        if name in onnx_operations.STRUCTURED:
            return onnx_operations.STRUCTURED[name](self, equation, operands)
        if not any(isinstance(value, Tensor) for value in operands) and _is_fixed(equation):
            results = equation.primitive.bind(*operands, **equation.params)
            return [np.asarray(r) for r in (results if equation.primitive.multiple_results else [results])]
        if name not in onnx_operations.OPERATIONS:
            raise ExportError(
                f"The classifier uses the operation {name!r}, for which the ONNX export has no counterpart "
                f"({equation.source_info.name_stack}). Export it as stablehlo, or add it to "
                "e2e_jax/inference/export/onnx_operations.py."
            )
        return [onnx_operations.OPERATIONS[name](self, equation, *operands)]

    def _named(self, value):
        """The name of a value in the graph; arrays become constants, equal arrays only one."""
        if isinstance(value, Tensor):
            return value.name
        value = np.ascontiguousarray(onnx_shapes.portable(value)).reshape(np.shape(value))
        key = (value.dtype.str, value.shape, value.tobytes())
        return self._constants.setdefault(key, (f"c{len(self._constants)}", value))[0]

    def _computed(self, expression, size):
        """A symbolic size such as "25*hcal + tracks" as nodes."""
        match expression:
            case ast.Constant(value=int(value)):
                return np.array([value], np.int64)
            case ast.Name(id=name):
                return self._sizes[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.node("Neg", self._computed(operand, size))
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() as operator, right=right):
                operation = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul"}[type(operator)]
                return self.node(operation, self._computed(left, size), self._computed(right, size))
        raise ExportError(f"A size of the classifier is {size}, which the ONNX export cannot compute.")


class Tensor:
    """A tensor of the graph, by its name."""

    def __init__(self, name):
        self.name = name


def _is_fixed(equation):
    """Whether the sizes of the results are known now."""
    return all(isinstance(size, int) for variable in equation.outvars for size in variable.aval.shape)


def _axes(shape):
    return [size if isinstance(size, int) else str(size) for size in shape]
