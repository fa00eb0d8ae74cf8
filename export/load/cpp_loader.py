"""Runs a SavedModel with TensorFlow's C++ loader, which TensorFlow Serving uses, and without Python's TensorFlow.

  python cpp_loader.py LIBRARY_DIR MODEL_DIR CASES.json

It is a process of its own that calls TensorFlow's C API by ctypes. It imports nothing of this package. CASES.json is a
list of {"inputs": {tensor: npy file}, "outputs": [tensor], "results": [npy file]}. The program prints one JSON list
with the status of each case: [code, message]; code 3 is INVALID_ARGUMENT. Strings are arrays of dtype object (bytes).
Tensors are named "operation:index".
"""

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

TYPES = {"float32": 1, "int32": 3, "uint8": 4, "object": 7}
NAMES = {number: name for name, number in TYPES.items()}
STRING_BYTES = 24  # size of a TF_TString


class Output(ctypes.Structure):
    """TF_Output: an operation and the number of its result."""

    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


def load_library(folder: Path | str) -> Any:
    """TensorFlow's C API: functions of two shared libraries."""
    found = [ctypes.CDLL(str(Path(folder) / f"lib{name}.so.2")) for name in ("tensorflow_framework", "tensorflow_cc")]
    api = {}
    pointers = ("TF_NewStatus", "TF_Message", "TF_NewSessionOptions", "TF_NewGraph", "TF_LoadSessionFromSavedModel")
    pointers += ("TF_GraphOperationByName", "TF_AllocateTensor", "TF_TensorData", "TF_StringGetDataPointer")
    for name in (
        *pointers,
        *("TF_GetCode", "TF_SessionRun", "TF_NumDims", "TF_Dim", "TF_TensorType", "TF_TensorByteSize"),
        *("TF_StringInit", "TF_StringCopy", "TF_StringGetSize", "TF_StringDealloc"),
        *("TF_DeleteStatus", "TF_DeleteTensor"),
    ):
        function = next(getattr(library, name) for library in reversed(found) if hasattr(library, name))
        if name in pointers:
            function.restype = ctypes.c_void_p
        elif name in ("TF_Dim", "TF_TensorByteSize", "TF_StringGetSize"):
            function.restype = ctypes.c_size_t
        api[name] = function
    return type("Api", (), {name: staticmethod(function) for name, function in api.items()})


class SavedModel:
    """A session with the graph of a SavedModel, tag "serve". Several threads may use it at once."""

    def __init__(self, api: Any, folder: Path | str):
        self.api = api
        status = ctypes.c_void_p(api.TF_NewStatus())
        self.graph = ctypes.c_void_p(api.TF_NewGraph())
        options = ctypes.c_void_p(api.TF_NewSessionOptions())
        tags = (ctypes.c_char_p * 1)(b"serve")
        name = str(folder).encode()
        self.session = ctypes.c_void_p(
            api.TF_LoadSessionFromSavedModel(options, None, name, tags, 1, self.graph, None, status)
        )
        if (error := self.error(status))[0]:
            raise SystemExit(f"cannot load {folder}: {error}")

    def error(self, status: ctypes.c_void_p) -> list:
        """[code, message] of a call. Its status is freed."""
        message = ctypes.string_at(self.api.TF_Message(status)).decode(errors="replace")
        error = [self.api.TF_GetCode(status), message]
        self.api.TF_DeleteStatus(status)
        return error

    def output(self, name: str) -> Output:
        """The output of the graph that a tensor's name describes."""
        operation, index = name.rsplit(":", 1)
        found = self.api.TF_GraphOperationByName(self.graph, operation.encode())
        if not found:
            raise SystemExit(f"the graph has no operation {operation}")
        return Output(found, int(index))

    def tensor(self, array: np.ndarray) -> ctypes.c_void_p:
        """A TF_Tensor with the contents of an array."""
        kind = TYPES[array.dtype.name]
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        size = array.size * (STRING_BYTES if kind == 7 else array.itemsize)
        tensor = ctypes.c_void_p(self.api.TF_AllocateTensor(kind, shape, array.ndim, ctypes.c_size_t(size)))
        data = self.api.TF_TensorData(tensor)
        if kind == 7:
            for i, content in enumerate(array.ravel()):
                string = ctypes.c_void_p(data + i * STRING_BYTES)
                self.api.TF_StringInit(string)
                self.api.TF_StringCopy(string, content, ctypes.c_size_t(len(content)))
        elif size:
            ctypes.memmove(data, np.ascontiguousarray(array).ctypes.data, size)
        return tensor

    def delete(self, tensor: ctypes.c_void_p) -> None:
        """Frees a TF_Tensor that this class made, and its strings, which TensorFlow does not free."""
        if self.api.TF_TensorType(tensor) == TYPES["object"]:
            data = self.api.TF_TensorData(tensor)
            for i in range(self.api.TF_TensorByteSize(tensor) // STRING_BYTES):
                self.api.TF_StringDealloc(ctypes.c_void_p(data + i * STRING_BYTES))
        self.api.TF_DeleteTensor(tensor)

    def array(self, tensor: int) -> np.ndarray:
        """The contents of a TF_Tensor, which is freed."""
        pointer = ctypes.c_void_p(tensor)
        shape = [self.api.TF_Dim(pointer, i) for i in range(self.api.TF_NumDims(pointer))]
        name = NAMES[self.api.TF_TensorType(pointer)]
        data = self.api.TF_TensorData(pointer)
        if name == "object":
            contents = []
            for i in range(int(np.prod(shape))):
                string = ctypes.c_void_p(data + i * STRING_BYTES)
                length = self.api.TF_StringGetSize(string)
                contents.append(ctypes.string_at(self.api.TF_StringGetDataPointer(string), length))
            array = np.array(contents, object)
        else:
            array = np.frombuffer(ctypes.string_at(data, self.api.TF_TensorByteSize(pointer)), name)
        self.api.TF_DeleteTensor(pointer)  # this frees an answer's strings too
        return array.reshape(shape)

    def run(self, inputs: dict[str, np.ndarray], outputs: list[str]) -> tuple[list, list[np.ndarray]]:
        """Runs the graph. Returns ([code, message], arrays)."""
        feeds = (Output * len(inputs))(*map(self.output, inputs))
        given = [self.tensor(array) for array in inputs.values()]
        values = (ctypes.c_void_p * len(inputs))(*given)
        fetches = (Output * len(outputs))(*map(self.output, outputs))
        results = (ctypes.c_void_p * len(outputs))()
        status = ctypes.c_void_p(self.api.TF_NewStatus())
        self.api.TF_SessionRun(
            *(self.session, None, feeds, values, len(inputs), fetches, results, len(outputs)),
            *(None, 0, None, status),
        )
        for tensor in given:
            self.delete(tensor)
        error = self.error(status)
        return error, [] if error[0] else [self.array(result) for result in results]


def main(library_dir: str, model_dir: str, cases: str) -> None:
    """Runs all cases in one process, even if some of them fail."""
    model = SavedModel(load_library(library_dir), model_dir)
    told = []
    for case in json.loads(Path(cases).read_text()):
        inputs = {name: np.load(path, allow_pickle=True) for name, path in case["inputs"].items()}
        error, arrays = model.run(inputs, case["outputs"])
        told.append(error)
        for path, array in zip(case["results"], arrays, strict=False):
            np.save(path, array)
    forbidden = sorted({"tensorflow", "keras", "vunet_tf"} & sys.modules.keys())
    assert not forbidden, forbidden
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
