"""The layers of the package: a module imports only from layers below its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vunet_tf

ROOT = Path(__file__).parent.parent

# The longest matching prefix decides. Layer n may import layers < n, and its own layer inside the same room.
LAYERS = {
    "vunet_tf": 0,
    "vunet_tf.files": 0,
    "vunet_tf.config": 0,
    "vunet_tf.command_line": 0,
    "vunet_tf.body": 1,
    "vunet_tf.people": 2,
    "vunet_tf.objective": 2,
    "vunet_tf.data": 3,
    "vunet_tf.models": 3,
    "vunet_tf.pretrained": 3,
    "vunet_tf.runs": 4,
    "vunet_tf.training": 5,
    "vunet_tf.baselines": 5,
    "vunet_tf.generation": 5,
    "vunet_tf.evaluation": 6,
    "vunet_tf.estimate": 7,
    "vunet_tf.prepare": 7,
    "vunet_tf.train": 7,
    "vunet_tf.generate": 7,
    "vunet_tf.evaluate": 7,
    "vunet_tf.benchmark": 7,
    "vunet_tf.__main__": 7,
    "export": 7,
}
FILES = sorted([*ROOT.glob("vunet_tf/**/*.py"), *ROOT.glob("export/**/*.py")])


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_entry(module):
    """The key of LAYERS for `module`: its longest prefix."""
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        if (prefix := ".".join(parts[:end])) in LAYERS and (prefix != "vunet_tf" or len(parts) == 1):
            return prefix
    raise AssertionError(f"{module} has no layer: add its room to LAYERS")


def for_type_checkers(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imported_modules(path):
    names, tree = {module_name(p) for p in FILES}, ast.parse(path.read_text())
    for node in ast.walk(ast.Module([each for each in tree.body if not for_type_checkers(each)], [])):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import, line {node.lineno}"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in names else node.module


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_only_from_layers_below(path):
    module = module_name(path)
    own = layer_entry(module)
    for imported in imported_modules(path):
        if imported.split(".")[0] not in ("vunet_tf", "export"):
            continue
        other = layer_entry(imported)
        same_room = own == other
        assert same_room or LAYERS[other] < LAYERS[own] or LAYERS[other] == LAYERS[own] == 0, (
            f"{module} (layer {LAYERS[own]}) imports {imported} (layer {LAYERS[other]})"
        )


def test_the_root_has_few_files():
    """The package's root has only the commands and the folders of subjects, so that a newcomer finds them."""
    assert len([path for path in (ROOT / "vunet_tf").iterdir() if path.is_file()]) <= 11


def test_type_checkers_find_what_the_package_gives():
    (block,) = filter(for_type_checkers, ast.parse((ROOT / "vunet_tf/__init__.py").read_text()).body)
    shown = {alias.name: node.module for node in block.body for alias in node.names}
    assert shown == vunet_tf._PUBLIC and sorted(shown) == sorted(vunet_tf.__all__)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_only_two_modules_import_tensorflow_probability(path):
    if module_name(path) not in ("vunet_tf.models.distributions", "vunet_tf.models.bijectors"):
        assert not any(name.startswith("tensorflow_probability") for name in imported_modules(path))


def test_what_workers_import_does_not_start_tensorflow():
    """TensorFlow takes seconds and hundreds of megabytes, and `prepare` starts a worker for each core."""
    modules = "vunet_tf.prepare, vunet_tf.data.workers, export.serving.shapes, export.serving.rest_client"
    code = f"import sys, {modules}; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_public_functions_say_what_they_take_and_give(path):
    for function, is_method in public_functions(ast.parse(path.read_text()).body):
        given = function.args
        arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        if is_method and "staticmethod" not in map(ast.unparse, function.decorator_list):
            arguments.remove(arguments[0])  # self or cls
        missing = [each.arg for each in arguments if each and each.annotation is None]
        assert not missing, f"{function.name}, line {function.lineno}: {', '.join(missing)}"
        assert function.returns or function.name == "__init__", (
            f"{function.name}, line {function.lineno}: what it gives"
        )


def public_functions(body, is_method=False):
    """The functions of a module and the methods of its classes whose names do not begin with one underscore."""
    for node in body:
        if getattr(node, "name", "_").startswith("_") and not getattr(node, "name", "").startswith("__"):
            continue
        if isinstance(node, ast.FunctionDef):
            yield node, is_method
        elif isinstance(node, ast.ClassDef):
            yield from public_functions(node.body, is_method=True)
