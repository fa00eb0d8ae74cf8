"""A SavedModel as a server runs it: with the C++ loader, in a process that has neither this package nor Keras."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export.load import cpp_loader

INVALID_ARGUMENT = 3


def signatures(version_dir):
    """{name: SignatureDef} of a SavedModel."""
    content = saved_model_pb2.SavedModel.FromString((Path(version_dir) / "saved_model.pb").read_bytes())
    (meta_graph,) = content.meta_graphs
    return meta_graph.signature_def


def serve(version_dir, requests):
    """Answers of one server process to several requests.

    Args:
        version_dir: a SavedModel.
        requests: list of (signature, {input: array}).

    Returns:
        A list of {output: array}, or of (code, message) for what was refused.
    """
    known = signatures(version_dir)
    with tempfile.TemporaryDirectory() as folder:
        cases = []
        for i, (signature, inputs) in enumerate(requests):
            files = {}
            for name, value in inputs.items():
                path = f"{folder}/in_{i}_{name}.npy"
                np.save(path, value)
                files[known[signature].inputs[name].name] = path
            outputs = [output.name for output in known[signature].outputs.values()]
            results = [f"{folder}/out_{i}_{name}.npy" for name in known[signature].outputs]
            cases.append({"inputs": files, "outputs": outputs, "results": results})
        Path(folder, "cases.json").write_text(json.dumps(cases))
        library_dir = Path(tf.sysconfig.get_lib())
        command = [sys.executable, cpp_loader.__file__, library_dir, version_dir]
        environment = {"PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "2"}
        done = subprocess.run(
            [*command, f"{folder}/cases.json"], capture_output=True, text=True, cwd=folder, env=environment, timeout=600
        )
        assert done.returncode == 0, done.stderr
        answers = []
        for case, (signature, _), (code, message) in zip(cases, requests, json.loads(done.stdout), strict=True):
            if code:
                answers.append((code, message))
            else:
                arrays = [np.load(path, allow_pickle=True) for path in case["results"]]
                answers.append(dict(zip(known[signature].outputs, arrays, strict=True)))
        return answers
