"""The content of a TFLite file: its description, its ops, and how XNNPACK divides them."""

import json
from collections import Counter
from typing import NamedTuple

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils

METADATA = "vunet.json"  # the name of the description among the file's metadata
_OP_NAMES = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def with_description(content: bytes, description: dict) -> bytes:
    """The file with a description: JSON in its metadata buffer `METADATA`.

    Raises:
        ValueError: an output of a signature is one of its inputs. LiteRT's CompiledModel would give garbage.
    """
    model = _read(content)
    for signature in model.signatureDefs:
        if {named.tensorIndex for named in signature.inputs} & {named.tensorIndex for named in signature.outputs}:
            raise ValueError(f"an output of {_text(signature.signatureKey)} is one of its inputs")
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(json.dumps(description).encode())
    entry.name, entry.buffer = METADATA, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [kept for kept in model.metadata or [] if _text(kept.name) != METADATA] + [entry]
    model.description = f"{description['model']}; {description['licence']}; how to feed it: metadata {METADATA}"
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def description(content: bytes) -> dict | None:
    """The description in a file, or None."""
    model = _read(content)
    for entry in model.metadata or []:
        if _text(entry.name) == METADATA:
            return json.loads(bytes(bytearray(model.buffers[entry.buffer].data)))
    return None


def result_names(content: bytes, output: str) -> list[str]:
    """The names of the tensors that signatures give as the output `output`."""
    model = _read(content)
    return [
        _text(model.subgraphs[signature.subgraphIndex].tensors[found.tensorIndex].name)
        for signature in model.signatureDefs
        for found in signature.outputs
        if _text(found.name) == output
    ]


class Signature(NamedTuple):
    """One signature's graph: how often it has each op, the number of XNNPACK partitions, and the ops outside them."""

    ops: Counter
    partitions: int
    outside: Counter


def signature(content: bytes, name: str) -> Signature:
    """The ops of a signature's graph, and how XNNPACK divides them on this machine."""
    model = _read(content)
    (wanted,) = [known for known in model.signatureDefs if _text(known.signatureKey) == name]
    graph = model.subgraphs[wanted.subgraphIndex]
    ops = Counter(_OP_NAMES[model.operatorCodes[op.opcodeIndex].builtinCode] for op in graph.operators)
    # The interpreter tells only the ops of the first graph, so make a file that has only this graph.
    model.subgraphs, model.signatureDefs = [graph], []
    alone = Interpreter(model_content=bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    alone.allocate_tensors()
    nodes = [(node["op_name"], list(node["inputs"]), list(node["outputs"])) for node in alone._get_ops_details()]
    delegates = [node for node in nodes if node[0] == "DELEGATE"]
    makes = {tensor: node for node in nodes if node[0] != "DELEGATE" for tensor in node[2]}
    inside = set()
    for _, inputs, outputs in delegates:
        pending = [tensor for tensor in outputs if tensor in makes]
        while pending:
            tensor = pending.pop()
            if tensor not in inside:
                inside.add(tensor)
                pending += [source for source in makes[tensor][1] if source in makes and source not in inputs]
    outside = Counter(kind for kind, _, outputs in nodes if kind != "DELEGATE" and not inside & set(outputs))
    return Signature(ops, len(delegates), outside)


def _read(content):
    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def _text(name):
    return name.decode() if isinstance(name, bytes) else name
