r"""Makes pictures with a trained model.

  python -m vunet_tf.generate MODE --run_dir=RUN ... --out=FILE

  reconstruct   each picture from its own appearance and shape
    ... reconstruct --run_dir=runs/quickstart --inputs=valid:0-15 --out=reconstructed.png
  transfer      every appearance (rows) in every shape (columns)
    ... transfer --run_dir=runs/quickstart --appearances=valid:0-4 --shapes=valid:10-17 --out=matrix.png
    ... transfer --run_dir=runs/quickstart --appearances=valid:0 --part=legs:valid:30 --shapes=valid:1-8 --out=mixed.png
  sample        appearances from the prior, for each shape (rows: shapes, columns: samples)
    ... sample --run_dir=runs/quickstart --shapes=valid:0-3 --samples=8 --seed=1 --out=samples.png
    ... sample --run_dir=runs/quickstart --appearances=valid:5 --vary=torso+arms --shapes=valid:0-3 --out=shirts.png
  parts         a picture of where the parts lie that the model has found (runs with --latent=laid)
    ... parts --run_dir=runs/quickstart --inputs=valid:0-3 --out=parts.png
  interpolate   from one appearance to the next, for each shape; or one appearance along a path of poses
    ... interpolate --run_dir=runs/quickstart --appearances=valid:0,9 --shapes=valid:3 --out=between.png
    ... interpolate --run_dir=runs/quickstart --appearances=valid:0 --shapes=valid:3,9,14 --out=path.png
  manifold      the pictures for a grid over two of the numbers in z (runs with --model=vae or vae_joint)
    ... manifold --run_dir=runs/digits --steps=20 --out=manifold.png
  attribute     pictures get an attribute (the mean z of examples with it, minus the mean z of those without, is added)
    ... attribute --run_dir=runs/quickstart --inputs=valid:0-3 --attribute=hair=blond --out=blond.png
  animate       appearances driven by a sequence of shapes, as a .gif or .mp4
    ... animate --run_dir=runs/quickstart --appearances=valid:0 --shapes=valid:3,9,14 --steps=12 --out=move.mp4
    ... animate --run_dir=runs/photos --appearances=me.jpg --shapes=dance.mp4 --out=dancing.mp4

How inputs are named; several have commas between them:

  valid:12  valid:0-7  valid:0,5,9  valid:all   examples of a split of the run's dataset, counted from 0
  valid:look1000_pose1003                       the example of that name
  me.jpg                                        a picture. Its keypoints are in me.json beside it (COCO, OpenPose or
                                                vunet-joints-1, see python -m export.serving.joints). Without that
                                                file they are estimated (once before: python -m vunet_tf.estimate get)
  dance.mp4                                     a video, for --shapes: the pose of one person in each frame, estimated
  me.jpg+keypoints.json                         a picture and its keypoints
  cat.png+map.png                               a picture and its shape map, for a run on shape maps
  map:map.png                                   a shape map: a shape without an appearance
  photos  photos+keypoints.json  map:maps       every picture of a folder

Pictures of any size are made square in the way in which `prepare` made those of the run's dataset square. Inputs that
cannot be read are left out and listed, in rejects.csv in the folder --out or in NAME.rejects.csv beside NAME.png.

Exit status: 0 if everything was made, 1 after an error, 2 if inputs were left out, 130 after Ctrl-C, 143
after SIGTERM.
"""

import os
import sys
from functools import partial
from pathlib import Path

from absl import flags

from vunet_tf.command_line.flags import define_pose_model
from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.data.dataset import read_info
from vunet_tf.files import atomic, pictures, video
from vunet_tf.files.errors import InputError
from vunet_tf.files.words import counted
from vunet_tf.pretrained import folder_of

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of a trained run, or name of a preset, for example figures-64.")
_DATASET_DIR = flags.DEFINE_string(
    "dataset_dir", None, "Folder of the run's dataset. By default the one named in its flags.txt."
)
_OUT = flags.DEFINE_string(
    "out",
    None,
    "File to write: .png for a grid, .gif or .mp4 for an animation (animate, interpolate). With --separate, a folder.",
)
_INPUTS = flags.DEFINE_string("inputs", None, "reconstruct, parts, attribute: the pictures to work on.")
_APPEARANCES = flags.DEFINE_string(
    "appearances",
    None,
    "transfer, interpolate, animate: whose appearances to use. sample with --vary: one, which is varied.",
)
_SHAPES = flags.DEFINE_string(
    "shapes",
    None,
    "transfer, sample, animate: whose shapes to use. Models without shapes are sampled without this flag. interpolate: "
    "whose shapes to use, by default the first appearance's own.",
)
_PART = flags.DEFINE_multi_string(
    "part",
    [],
    "transfer, animate: PARTS:INPUT takes the appearance of these parts from another input, for example torso:valid:3. "
    "For runs with --latent=laid. PARTS are head, torso, arms, legs, background (these names need a dataset with "
    "joints), or the numbers that the mode parts shows, with + between. For a model with --texture_codes, texture "
    "names these codes, and torso includes them. The flag can be given more than once.",
)
_VARY = flags.DEFINE_string(
    "vary",
    None,
    "sample: only these parts are sampled, named as in --part. The others are those of --appearances. For runs with "
    "--latent=laid, but not with --prior=flow.",
)
_SAMPLES = flags.DEFINE_integer("samples", 8, "sample: number of samples for each shape.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "sample: seed of the noise. Another seed gives other samples.", 0, 2**31 - 1)
_STEPS = flags.DEFINE_integer(
    "steps",
    None,
    "interpolate: number of pictures from one input to the next, both included (by default 8). animate: number of "
    "frames from one pose to the next, both included (by default only the poses themselves); refused for shape maps, "
    "which have no frames between them. manifold: number of rows and of columns (by default 12). attribute: number of "
    "columns (by default 8).",
    lower_bound=2,
)
_DIMENSIONS = flags.DEFINE_list(
    "dimensions",
    "0,1",
    "manifold: which two numbers of z vary. They must be different, and are counted from 0 to --code_size less 1.",
)
_ATTRIBUTE = flags.DEFINE_string(
    "attribute",
    None,
    "attribute: KEY=VALUE, an attribute that the dataset's examples have, for example digit=3. The means are those of "
    "up to 2,000 examples of the split train. A preset has no such split: give --dataset_dir.",
)
_STRENGTH = flags.DEFINE_float(
    "strength",
    1.0,
    "attribute: how strong it is in the last column. With 1 it is as strong as in the examples that have it. Below 0, "
    "it is taken away.",
)
_FPS = flags.DEFINE_float(
    "fps",
    None,
    ".gif and .mp4: frames per second; a .gif has at most 50. By default 10, or the rate of the video in --shapes. An "
    ".mp4 keeps the sound of that video, unless --steps or another rate is given.",
    lower_bound=0.1,
    upper_bound=120,
)
_SHOW_SHAPES = flags.DEFINE_bool("show_shapes", False, ".gif and .mp4: show the shape at the left of each frame.")
_SEPARATE = flags.DEFINE_bool(
    "separate", False, "Write each picture to its own file in the folder --out, at the model's size, with an index.csv."
)
_CELL = flags.DEFINE_integer(
    "cell",
    None,
    "About how many pixels high a picture is shown: by default 96, in animations 256. Pictures are enlarged by whole "
    "factors only.",
    lower_bound=1,
    upper_bound=2048,
)
_FIT = flags.DEFINE_enum(
    "fit",
    None,
    ["person", *pictures.FITS],
    "How your own pictures become square. person: a square around the person. stretch: the whole picture, stretched. "
    "pad: the short side is continued with the edge. crop: the middle. By default as in the run's dataset. For a run "
    "on drawn people, the person in a photograph without keypoints is cut out, and person takes the place of pad, also "
    "if you give --fit=pad.",
)
_POSE_MODEL = define_pose_model()
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Number of pictures made at once.", lower_bound=1)

# Flags that each mode needs, and those that it also takes.
MODES = {
    "reconstruct": (("inputs",), ()),
    "transfer": (("appearances", "shapes"), ("part",)),
    "sample": ((), ("shapes", "samples", "seed", "appearances", "vary")),
    "parts": (("inputs",), ()),
    "interpolate": (("appearances",), ("shapes", "steps")),
    "animate": (("appearances", "shapes"), ("steps", "part")),
    "manifold": ((), ("steps", "dimensions")),
    "attribute": (("inputs", "attribute"), ("steps", "strength")),
}
ANIMATED = ("interpolate", "animate")
OF_ANIMATIONS = ("fps", "show_shapes")
SOME_LEFT_OUT = 2  # exit status


def _check_flags(mode: str) -> None:
    """Raises InputError for a flag that is missing, or given where it does nothing."""
    needed, taken = MODES[mode]
    missing = [name for name in ("run_dir", *needed, "out") if not flags.FLAGS[name].value]
    if missing:
        raise InputError(
            f"{mode} needs {' and '.join(f'--{name}' for name in missing)}; "
            "`python -m vunet_tf.generate --help` explains"
        )
    of_modes = {name for needs_and_takes in MODES.values() for names in needs_and_takes for name in names}
    for name in sorted(of_modes - {*needed, *taken}):
        if flags.FLAGS[name].present:
            others = [other for other, (needs, takes) in MODES.items() if name in (*needs, *takes)]
            raise InputError(f"--{name} is for {', '.join(others)}; {mode} does not take it")


def _out(mode: str) -> Path:
    """The path of --out. Raises InputError if nothing can be written there."""
    out = Path(_OUT.value)
    suffix = out.suffix.lower()
    if not _SEPARATE.value:
        known = [".png", ".gif", ".mp4"] if mode in ANIMATED else [".png"]
        if mode == "animate":
            known.remove(".png")
        if suffix not in known:
            raise InputError(f"--out={out}: {mode} writes {' or '.join(known)}; or give --separate and a folder")
        if out.is_dir():
            raise InputError(f"--out={out} is a folder; name a file, or give --separate")
    if _SEPARATE.value or suffix == ".png":
        for name in OF_ANIMATIONS:
            if flags.FLAGS[name].present:
                raise InputError(f"--{name} is for animations: name an --out that ends in .gif or .mp4")
    atomic.check_writable(out / "index.csv" if _SEPARATE.value else out)
    return out


def _check_files(mode: str) -> None:
    """Raises InputError if a flag names only files that are not there. If some are there, the rest is listed later."""
    needed, taken = MODES[mode]
    for name in ("inputs", "appearances", "shapes"):
        value = flags.FLAGS[name].value
        if name not in (*needed, *taken) or not value:
            continue
        files = [each.strip().removeprefix("map:").partition("+")[0] for each in value.split(",")]
        if not any(":" in file or os.path.exists(file) for file in files):
            raise InputError(f"--{name}={value}: there is no such file (an example of the dataset is named valid:0)")


def _generate(mode: str) -> bool:
    """Makes and writes the pictures. Returns whether all inputs could be used."""
    _check_flags(mode)
    folder_of(_RUN_DIR.value)
    if _DATASET_DIR.value:
        read_info(_DATASET_DIR.value)
    out = _out(mode)
    _check_files(mode)

    start_tensorflow()  # only now: --help and wrong flags need not wait for it
    from vunet_tf import runs
    from vunet_tf.body.estimation import open_estimator
    from vunet_tf.generation import Generator

    rejects = []
    generator = Generator(
        runs.load(_RUN_DIR.value, _DATASET_DIR.value),
        fit=_FIT.value,
        batch_size=_BATCH_SIZE.value,
        rejects=rejects,
        progress=True,
        estimator=partial(open_estimator, _POSE_MODEL.value),
    )
    try:
        arguments = {name: flags.FLAGS[name].value for names in MODES[mode] for name in names}
        if "dimensions" in arguments:
            arguments["dimensions"] = _numbers(_DIMENSIONS)
        _save(getattr(generator, mode)(**arguments), out)
    finally:
        _list_rejects(rejects, out)
    return not rejects


def _numbers(flag) -> list[int]:
    try:
        return [int(number) for number in flag.value]
    except ValueError:
        raise InputError(f"--{flag.name}={','.join(flag.value)}: must be numbers with a comma between") from None


def _save(sheet, out: Path) -> None:
    size = {} if _CELL.value is None else {"least": _CELL.value}
    if _SEPARATE.value:
        print(f"{out}: {counted(sheet.save_pictures(out), 'picture')}")
    elif out.suffix.lower() == ".png":
        print(f"{out}: a grid of {counted(sheet.save_grid(out, **size), 'picture')}")
    else:
        shapes = Path(_SHAPES.value or "")
        rate = video.rate(shapes) if video.is_video(shapes) else 10
        sound = shapes if video.is_video(shapes) and _FPS.value in (None, rate) and not _STEPS.value else None
        count = sheet.save_animation(out, _FPS.value or rate, with_shapes=_SHOW_SHAPES.value, sound=sound, **size)
        print(f"{out}: {counted(count, 'frame')}")


def _list_rejects(rejects, out: Path) -> None:
    """Writes the list of what was left out beside the pictures. The list of an earlier call is removed."""
    path = out / "rejects.csv" if _SEPARATE.value else out.with_name(f"{out.stem}.rejects.csv")
    with atomic.writing(path):
        path.unlink(missing_ok=True)
        if rejects:
            atomic.write_csv(path, [("input", "reason"), *rejects])
            more = f", and {len(rejects) - 1} more" if len(rejects) > 1 else ""
            told = f"{rejects[0].file} ({rejects[0].reason}){more}"
            print(f"left out: {told}; listed in {path}", file=sys.stderr)


def _command(mode: str) -> None:
    if not _generate(mode):
        sys.exit(SOME_LEFT_OUT)


if __name__ == "__main__":
    run({mode: partial(_command, mode) for mode in MODES}, if_stopped="every file under its final name is complete")
