r"""Makes a web page on which a run makes pictures: a folder of plain files for any web server.

  python -m export.web --run_dir=runs/quickstart --out=site --open
  python -m export.web --run_dir=runs/quickstart --out=site --appearances=valid:0,25,me.jpg --shapes=valid:0-7
  python -m export.web --run_dir=figures-64 --out=site --pose_model=auto --open

On the page joints are dragged, appearances clicked, mixed, exchanged part by part and drawn at random, and photographs
read. All of it is computed in the browser; nothing is sent anywhere. Browsers load modules from a server only, not from
a file: --open serves the folder to this machine alone, and shows it. Inputs are named as `python -m vunet_tf.generate
--help` says.
"""

import webbrowser

from absl import flags

from export.tflite import PRECISIONS
from export.web.serving import server
from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.files.errors import InputError

_RUN_DIR = flags.DEFINE_string("run_dir", None, "The run to show.")
_OUT = flags.DEFINE_string("out", None, "Folder of the page, made if need be; each of its files is replaced whole.")
_APPEARANCES = flags.DEFINE_string(
    "appearances", None, "Appearances to choose from; by default the first different ones of the run's dataset."
)
_SHAPES = flags.DEFINE_string("shapes", None, "Poses or shape maps to choose from; by default as for --appearances.")
_COUNT = flags.DEFINE_integer("count", 12, "How many appearances and shapes, where none are named.", lower_bound=1)
_DATASET_DIR = flags.DEFINE_string("dataset_dir", None, "Dataset of the run; by default the one its flags.txt names.")
_PRECISION = flags.DEFINE_enum(
    "precision",
    "float32",
    list(PRECISIONS),
    "Of the weights; see export/tflite/quantise.py. LiteRT.js makes float16 weights float32 in every call, which takes "
    "longer than the picture.",
)
_SAMPLE = flags.DEFINE_bool(
    "sample", True, "Whether new appearances can be drawn. The prior is then among the weights."
)
_LITERT = flags.DEFINE_string(
    "litert", None, "Folder with the two packages of LiteRT.js, as `npm pack` writes them; by default they are fetched."
)
_POSE_MODEL = flags.DEFINE_string(
    "pose_model",
    None,
    "The page finds the person in a photograph by itself, with these weights of the pose estimator (9.4 MB): a folder, "
    "or auto for those that `python -m vunet_tf.estimate get` has put into the user's cache folder. By default joints "
    "are put onto a photograph by hand.",
)
_OPEN = flags.DEFINE_bool("open", False, "Serve the folder to this machine, and show the page in the browser.")
_PORT = flags.DEFINE_integer("port", 0, "With --open: the port; by default a free one.", 0, 65535)


def _export() -> None:
    if not _RUN_DIR.value or not _OUT.value:
        raise InputError("give --run_dir and --out; `python -m export.web --help` explains")
    start_tensorflow()
    from export import trained
    from export.web import site

    trained_run = trained.load(_RUN_DIR.value, _DATASET_DIR.value)
    trained_run.model.require("animate")  # the page lets an appearance follow a skeleton
    site.write(
        trained_run,
        _OUT.value,
        _APPEARANCES.value,
        _SHAPES.value,
        _COUNT.value,
        _PRECISION.value,
        _SAMPLE.value,
        _LITERT.value,
        _POSE_MODEL.value,
    )
    print(f"{_OUT.value}: the page")
    if _OPEN.value:
        _show(_OUT.value)


def _show(folder) -> None:
    try:
        serving = server(folder, _PORT.value)
    except OSError as error:
        raise InputError(f"--port={_PORT.value}: {error.strerror}; give another, or none") from error
    with serving:
        address = f"http://127.0.0.1:{serving.server_port}/"
        print(f"{address} shows it until Ctrl-C")
        webbrowser.open(address)
        serving.serve_forever()


if __name__ == "__main__":
    run(_export, if_stopped="every file there is whole")
