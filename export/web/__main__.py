r"""Makes a web page on which a run makes pictures: a folder of plain files for any web server.

  python -m export.web --run_dir=runs/quickstart --out=site --open
  python -m export.web --run_dir=runs/quickstart --out=site --appearances=valid:0,25,me.jpg --shapes=valid:0-7
  python -m export.web --run_dir=figures-64 --out=site --pose_model=auto --open

On the page the user drags joints; clicks, mixes and samples appearances, and exchanges them part by part; and reads
photographs. All of this is computed in the browser, and nothing is sent anywhere. Browsers load modules only from a
server, not from a file: --open serves the folder to this machine alone and shows the page. Inputs are named as in
`python -m vunet_tf.generate --help`.
"""

import webbrowser

from absl import flags

from export.tflite import PRECISIONS
from export.web.serving import server
from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.files.errors import InputError

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of the run to show, or name of a preset.")
_OUT = flags.DEFINE_string(
    "out",
    None,
    "Folder of the page. It is made if it is not there. Files of an earlier page are replaced; a folder with another "
    "index.html is refused.",
)
_APPEARANCES = flags.DEFINE_string(
    "appearances", None, "Appearances that the page offers. By default the first different ones of the run's dataset."
)
_SHAPES = flags.DEFINE_string(
    "shapes", None, "Poses or shape maps that the page offers. By default as for --appearances."
)
_COUNT = flags.DEFINE_integer("count", 12, "Number of appearances and of shapes, where none are named.", lower_bound=1)
_DATASET_DIR = flags.DEFINE_string(
    "dataset_dir",
    None,
    "Folder of the dataset from which the page's appearances and poses come, and with which int8 is calibrated. By "
    "default the one named in the run's flags.txt; for a preset, the examples that it carries.",
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "float32",
    list(PRECISIONS),
    "Number format of the weights (docs/export.md). int8 of a preset needs --dataset_dir, a dataset with a split "
    "train. LiteRT.js turns float16 weights into float32 at every call, which takes longer than the picture itself.",
)
_SAMPLE = flags.DEFINE_bool(
    "sample", True, "Whether the page can sample new appearances. The page then also loads the weights of the prior."
)
_LITERT = flags.DEFINE_string(
    "litert",
    None,
    "Folder with the two packages of LiteRT.js, as `npm pack` writes them. By default they are downloaded.",
)
_POSE_MODEL = flags.DEFINE_string(
    "pose_model",
    None,
    "Puts the pose estimator (9.4 MB) on the page, which then finds the person in a photograph by itself. The value is "
    "the folder of its weights, or auto for the user's cache folder, where `python -m vunet_tf.estimate get` puts "
    "them. By default the page has no estimator, and the user puts the joints onto a photograph by hand.",
)
_OPEN = flags.DEFINE_bool("open", False, "Serve the folder to this machine and show the page in the browser.")
_PORT = flags.DEFINE_integer("port", 0, "With --open: port of the server. 0, the default, takes a free one.", 0, 65535)


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
    print(
        f"{_OUT.value}: the page. Browsers load it from a server only: --open or python -m http.server -d {_OUT.value}"
    )
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
    run(_export, if_stopped="every file there is complete")
