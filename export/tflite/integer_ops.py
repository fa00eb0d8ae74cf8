"""What ai-edge-quantizer does not do for int8: separate biases, before it runs, and integer activations, after it.

- Signatures share their constants. A bias is quantised with the scale of its convolution's input, which differs between
  signatures, so a shared bias would be right only in the last one. Each convolution first gets a copy.
- The quantizer does not know ELU, LEAKY_RELU and DEPTH_TO_SPACE and puts each between a DEQUANTIZE and a QUANTIZE.
  TFLite and XNNPACK can run them on int8, so these three ops become one.
- An output that the graph also uses itself would be int8 although float was asked for. It gets a DEQUANTIZE.
"""

from collections import defaultdict

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

_OP = schema.BuiltinOperator
_POINTWISE = (_OP.ELU, _OP.LEAKY_RELU)  # input and output may have different scales
_MOVING = (_OP.DEPTH_TO_SPACE, _OP.SPACE_TO_DEPTH)  # input and output have the same scale
_INT8_VERSION = 2  # version of the op LEAKY_RELU; the others take int8 from version 1 on


def own_biases(content: bytes) -> bytes:
    """A float32 file in which no two convolutions share a bias."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    taken = set()
    for graph in model.subgraphs:
        for op in graph.operators:
            if model.operatorCodes[op.opcodeIndex].builtinCode != _OP.CONV_2D or len(op.inputs) < 3:
                continue
            bias = graph.tensors[op.inputs[2]]
            if bias.buffer in taken:
                copy = schema.BufferT()
                copy.data = model.buffers[bias.buffer].data
                model.buffers.append(copy)
                own = schema.TensorT()
                own.__dict__.update(bias.__dict__)
                own.name, own.buffer = bias.name + b"_%d" % len(model.buffers), len(model.buffers) - 1
                graph.tensors.append(own)
                op.inputs[2] = len(graph.tensors) - 1
            taken.add(bias.buffer)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def finish_int8(content: bytes) -> bytes:
    """A quantised file in which those ops are int8, and all outputs are float32."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    kinds = [code.builtinCode for code in model.operatorCodes]
    for code in model.operatorCodes:
        if code.builtinCode == _OP.LEAKY_RELU:
            code.version = max(code.version, _INT8_VERSION)
    for graph in model.subgraphs:
        _keep_integer(graph, kinds)
        _give_float(model, graph, kinds)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _keep_integer(graph, kinds):
    producers = {tensor: op for op in graph.operators for tensor in op.outputs}
    consumers = defaultdict(list)
    for op in graph.operators:
        for tensor in op.inputs:
            consumers[tensor].append(op)

    def is_kind(op, kind):
        return op is not None and kinds[op.opcodeIndex] == kind

    replaced = {}  # {id of an op: the ops that replace it}
    for op in graph.operators:
        kind = kinds[op.opcodeIndex]
        if kind not in _POINTWISE + _MOVING:
            continue
        source, result = producers.get(op.inputs[0]), op.outputs[0]
        uses = consumers[result]
        if not is_kind(source, _OP.DEQUANTIZE) or graph.tensors[source.inputs[0]].type != schema.TensorType.INT8:
            continue
        if not uses or result in graph.outputs or not all(is_kind(use, _OP.QUANTIZE) for use in uses):
            continue
        before = source.inputs[0]
        if kind in _POINTWISE:
            # One op for each wanted scale, which gives that scale directly.
            replaced[id(op)] = [_like(op, before, use.outputs[0]) for use in uses]
            replaced.update({id(use): [] for use in uses})
        else:
            # The result takes over the scale. A QUANTIZE to the same scale is left out.
            graph.tensors[result].type = schema.TensorType.INT8
            graph.tensors[result].quantization = graph.tensors[before].quantization
            same = [use for use in uses if _scale(graph, use.outputs[0]) == _scale(graph, before)]
            replaced[id(op)] = [_like(op, before, use.outputs[0]) for use in same[:1]] or [_like(op, before, result)]
            produced = same[0].outputs[0] if same else result
            replaced.update({id(use): [] for use in same[:1]})
            for use in uses:
                if use not in same[:1]:
                    use.inputs = [produced]
    graph.operators = [new for op in graph.operators for new in replaced.get(id(op), [op])]
    wanted = {tensor for op in graph.operators for tensor in op.inputs} | set(graph.outputs)
    graph.operators = [op for op in graph.operators if not is_kind(op, _OP.DEQUANTIZE) or wanted & set(op.outputs)]


def _give_float(model, graph, kinds):
    """Gives float to outputs that the graph also uses itself: they are int8, and the signature names another tensor."""
    for signature in model.signatureDefs:
        if model.subgraphs[signature.subgraphIndex] is not graph:
            continue
        for output in signature.outputs:
            named = graph.tensors[output.tensorIndex]
            names = [named.name + ending for ending in (b"", b"_quantized", b"_dequant")]  # the quantizer's endings
            comes_out = [tensor for tensor in graph.outputs if graph.tensors[tensor].name in names]
            if named.type == schema.TensorType.INT8:
                floats = [t for t in comes_out if graph.tensors[t].type == schema.TensorType.FLOAT32]
                output.tensorIndex = floats[0] if floats else _dequantised(graph, kinds, output.tensorIndex)
            graph.outputs = [output.tensorIndex if tensor in comes_out else tensor for tensor in graph.outputs]


def _dequantised(graph, kinds, tensor):
    """The index of a new float tensor with the value of an int8 tensor."""
    result = schema.TensorT()
    result.__dict__.update(graph.tensors[tensor].__dict__)
    result.name, result.type = graph.tensors[tensor].name + b"_float", schema.TensorType.FLOAT32
    result.quantization, result.buffer = None, 0
    graph.tensors.append(result)
    op = schema.OperatorT()
    op.opcodeIndex = kinds.index(_OP.DEQUANTIZE)
    op.inputs, op.outputs = [tensor], [len(graph.tensors) - 1]
    graph.operators.append(op)
    return op.outputs[0]


def _like(op, source, result):
    new = schema.OperatorT()
    new.__dict__.update(op.__dict__)
    new.inputs, new.outputs = [source], [result]
    return new


def _scale(graph, tensor):
    quantization = graph.tensors[tensor].quantization
    return list(quantization.scale), list(quantization.zeroPoint)
