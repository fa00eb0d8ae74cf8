"""The configuration of a model and of its training: each field is a flag of the same name."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from vunet_tf.files.errors import InputError

PICTURE_CHANNELS = 3
SMALLEST_VGG19_SIDE = 16  # pixels: four poolings come before the last layer
# Of an evaluation.
SECTIONS = ("reconstruction", "transfer", "disentanglement", "likelihood", "distribution", "pose", "samples")


def one_of(*choices: str, optional: bool = False) -> Any:
    """A setting with these values; the first is the default, or None where it is optional."""
    return dataclasses.field(default=None if optional else choices[0], metadata={"choices": choices})


def within(least: float | None, most: float | None, default: float | None) -> Any:
    """A number between two bounds, both included; None for no bound."""
    return dataclasses.field(default=default, metadata={"least": least, "most": most})


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all settings have in common: their values are checked by what the fields say, when they are made.

    Raises:
        InputError: a value of another type, none of the choices, or beyond the bounds; the message names the flag.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, known = getattr(self, field.name), field.metadata
            if value is None:
                continue
            if field.type in (bool, int, str) and type(value) is not field.type:
                raise InputError(f"--{field.name} must be of type {field.type.__name__}, got {value!r}")
            if field.type is float and not (type(value) in (int, float) and math.isfinite(value)):
                raise InputError(f"--{field.name} must be a number, got {value!r}")
            self.demand(value in known.get("choices", [value]), field.name, f"must be {told(known)}")
            least, most = known.get("least"), known.get("most")
            beyond = (least is not None and value < least) or (most is not None and value > most)
            self.demand(not beyond, field.name, f"must be {told(known)}")

    def demand(self, condition: bool, flag: str, wanted: str) -> None:
        """Raises InputError, which says of the flag what is wanted, unless the condition holds."""
        if not condition:
            raise InputError(f"--{flag}={getattr(self, flag)}: {wanted}")


def told(known: Mapping) -> str:
    """What a setting can be, in words, from its field's metadata; "" for anything."""
    if "choices" in known:
        return f"one of {', '.join(known['choices'])}"
    least, most = known.get("least"), known.get("most")
    if least is not None and most is not None:
        return f"from {least:,} to {most:,}"
    return "" if least is None else f"at least {least:,}"


@dataclasses.dataclass(frozen=True)
class ModelConfig(Settings):
    """Sizes and variants of a model; the defaults are a VU-Net, the released program's market configuration.

    Attributes:
        image_size: side of picture and shape map in pixels, a power of two.
        shape_channels: channels of the shape map (3: stickman; 1 or 3: edges, body map).
        appearance: what the appearance encoder F sees. "parts": crops of body parts (released program); "picture":
            picture and shape map (paper).
        latent: where the appearance z is kept. "maps": in small feature maps at the bottom of the decoder (released
            program); "laid": one code for each part of the figure, which the decoder gets where the part lies in the
            wanted shape. The parts are found by training alone.
        parts: number of parts: of body parts that are cut out for F (--appearance=parts), or of parts that are found
            (--latent=laid).
        code_channels: numbers in the code of a part (--latent=laid).
        map_factor: the maps that say where the parts lie have side image_size / 2**map_factor (--latent=laid).
        box_factor: crops have side image_size / 2**box_factor pixels.
        bottleneck_factor: the bottom feature map has a side of 2**bottleneck_factor positions.
        width: channels at full resolution; doubled at every coarser scale up to `max_width`.
        max_width: largest number of channels, and the channels of a latent.
        blocks_per_scale: residual blocks per scale in E, F and D.
        latent_scales: scales that carry a latent z, from the bottom up (--latent=maps); 0 leaves z out (the ablation
            "no z").
        variance: of posterior and prior: "unit" (released program) or "learned" diagonal.
        prior: "autoregressive" p(z | shape), position by position (released program) or part by part; "standard_normal"
            p(z) (ablation); or "flow": p(z | shape) as a normalising flow.
        activation: "elu" (released program), or "leaky_relu" (faster).
        dropout: rate inside the residual blocks, in [0, 1), taken to the nearest 1 / 256.
        weight_norm: weight-normalised convolutions (released program); False: plain ones, as `fold()` makes them.
        model: which model (docs/models.md). "vunet": the Variational U-Net. "ae": an autoencoder. "vae": a variational
            autoencoder. "vae_joint": the same, one half of z being meant for the shape. "cvae": a conditional VAE,
            which gets the shape at the bottleneck alone. "realnvp": a normalising flow over pictures.
        code_size: numbers in the z of ae, vae, vae_joint and cvae.
        linear: ae: one linear layer as encoder and one as decoder.
        picture_variance: vae, vae_joint, cvae: of p(x | z): "learned", the decoder makes a picture of it, or "fixed".
        picture_scale: its standard deviation where it is fixed; pictures are in [-1, 1].
        couplings: --model=realnvp: affine couplings with each kind of mask at each scale; its paper has 3.
        levels: --model=realnvp: of a colour value in the pictures: 256, or as many as the data has.
        grey: --model=realnvp: the mean of the three colours is modelled, for pictures whose colours are equal.

    Raises:
        InputError: a value that no model can be built with; the message names the flag to change.
    """

    image_size: int = 128
    shape_channels: int = within(1, None, 3)
    appearance: str = one_of("parts", "picture")
    latent: str = one_of("maps", "laid")
    parts: int = within(1, None, 8)
    code_channels: int = within(1, None, 24)
    map_factor: int = within(0, None, 1)
    box_factor: int = within(0, None, 1)
    bottleneck_factor: int = within(0, None, 1)
    width: int = within(1, None, 32)
    max_width: int = 128
    blocks_per_scale: int = within(2, None, 2)
    latent_scales: int = within(0, 3, 2)
    variance: str = one_of("unit", "learned")
    prior: str = one_of("autoregressive", "standard_normal", "flow")
    activation: str = one_of("elu", "leaky_relu")
    dropout: float = 0.0
    weight_norm: bool = True
    model: str = one_of(
        "vunet",
        "ae",
        "vae",
        "vae_joint",
        "cvae",
        "realnvp",
    )
    code_size: int = within(1, None, 64)
    linear: bool = False
    picture_variance: str = one_of("learned", "fixed")
    picture_scale: float = 0.1
    couplings: int = within(1, None, 3)
    levels: int = within(2, 256, 256)
    grey: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        size, scales = self.image_size, self.appearance_scales
        self.demand(2 <= size <= 4096 and size & (size - 1) == 0, "image_size", "must be a power of two up to 4096")
        self.demand(self.max_width >= self.width, "max_width", f"must be at least --width={self.width}")
        self.demand(0 <= self.dropout < 1, "dropout", "must be in [0, 1)")
        too_deep = "leaves no scale for what the appearance encoder sees; lower it or --box_factor"
        self.demand(scales >= 1, "bottleneck_factor", too_deep)
        if self.latent == "laid":
            self.demand(self.appearance == "picture", "appearance", "must be picture with --latent=laid")
            self.demand(self.code_channels >= PICTURE_CHANNELS, "code_channels", "must be at least 3, a colour")
            self.demand(size >> self.map_factor >= 8, "map_factor", "leaves part maps with a side under 8")
        self.demand(self.latent_scales <= scales, "latent_scales", f"must be at most {scales}: F has {scales} scales")
        self.demand(not self.linear or self.model == "ae", "linear", "only --model=ae can be linear")
        self.demand(self.picture_scale > 0, "picture_scale", "must be a number above 0")
        if self.model == "vae_joint":
            self.demand(self.code_size % 2 == 0, "code_size", "must be even: one half is for the shape")

    @classmethod
    def from_dict(cls, values: Mapping) -> "ModelConfig":
        """The configuration of `values` (as by `dataclasses.asdict`); raises InputError for a key that is no field."""
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise InputError(f"unknown model settings: {', '.join(unknown)}")
        return cls(**values)

    @property
    def scales(self) -> int:
        """Scales of E and D: 1 + log2(image_size) - bottleneck_factor."""
        return self.image_size.bit_length() - self.bottleneck_factor

    @property
    def widths(self) -> list[int]:
        """Channels of E and D at each scale, from full resolution down."""
        return [min(self.width * 2**scale, self.max_width) for scale in range(self.scales)]

    @property
    def seen(self) -> tuple[str, ...]:
        """What of a batch the appearance encoder sees: keys, in the order in which it takes them."""
        if self.model == "vunet" and self.appearance == "parts":
            return ("parts",)
        return ("image", "shape") if self.model in ("vunet", "cvae") else ("image",)

    @property
    def draws_shapes(self) -> bool:
        """Whether the picture of a z also needs a shape map."""
        return self.model in ("vunet", "cvae")

    @property
    def appearance_factor(self) -> int:
        """F's input is 2**this smaller than the picture."""
        return self.box_factor if self.seen == ("parts",) else 0

    @property
    def appearance_scales(self) -> int:
        """Scales of F, which ends at the same bottom as E."""
        return self.scales - self.appearance_factor

    @property
    def appearance_widths(self) -> list[int]:
        """Channels of F at each scale: those of E from F's resolution down."""
        return self.widths[self.appearance_factor :]

    @property
    def latent_shapes(self) -> list[tuple[int, ...]]:
        """Of each latent, from the bottom up, (height, width, channels); of the one laid latent (parts, channels); of
        models with a bottleneck (code_size,); of realnvp, whose z is as large as the picture, (numbers,)."""
        if self.model == "realnvp":
            return [(self.image_size**2 * (1 if self.grey else PICTURE_CHANNELS),)]
        if self.model != "vunet":
            return [(self.code_size,)]
        if self.latent == "laid":
            return [(self.parts, self.code_channels)] if self.latent_scales else []
        bottom = self.image_size >> (self.scales - 1)
        return [(bottom << i, bottom << i, self.widths[-1 - i]) for i in range(self.latent_scales)]


@dataclasses.dataclass(frozen=True)
class TrainingConfig(Settings):
    """How a model is trained; the defaults are the released program's, but for the loss, which needs no download.

    Attributes:
        steps: number of training steps. All schedules scale with it.
        batch_size: pictures in a step, of all replicas and machines together.
        seed: of the initial weights, the order of the data and all noise.
        optimizer: "adam" (released program: momenta 0.5 and 0.9), or "muon": the steps of 3x3 convolutions
            are made orthogonal, which learns more in a step (docs/laid.md); the rest is stepped by Adam
            with 0.9 and 0.99.
        learning_rate: of the optimizer: flat for a hundredth of the steps, then linearly to 0.
        warmup: steps in which the learning rate first rises from 0; the released program has none.
        reconstruction: the loss: "l1_ssim" (L1 of pixels and structural similarity), "l1", "vgg19" (the paper's), or
            "mse". Models that state p(x | z) by themselves (vae, vae_joint, cvae) use that instead.
        vgg_weights: of "vgg19": "imagenet" (downloaded once), or a file.
        feature_weights: weights of the terms of "vgg19" that compare features: the input and five layers.
        gram_weights: weights of the terms of "vgg19" that compare Gram matrices of the same six.
        kl_schedule: how the weight of the KL term changes: "ramp" (released program: 1e-6 up to half of the steps, and
            `kl_weight` from three quarters on), or "constant".
        kl_weight: weight of the KL term (beta); with "ramp" the weight at its end.
        ema: momentum of the averaged weights that evaluation and export use, reached step by step: after n updates it
            is at most (1 + n) / (10 + n). 0 for no averages.
        mixed_precision: "float32" or "mixed_bfloat16".
        appearance_from: whose picture the appearance encoder sees: "self" (the paper), or "other": another picture of
            the same appearance.
        mirror: flip half of the examples from left to right.
        mirror_appearance: flip half of what the appearance encoder sees, picture and shape together.
        shift: move picture and shape together by up to so many pixels in x and in y, edges replicated.
        hue: turn the hues of the picture, and of what the appearance encoder sees with it, at random by up to so many
            turns: 0.5 for any hue. Greys stay.
        steps_per_call: steps that run without coming back to Python.
        init_batches: batches of the data-dependent initialisation.
        log_every: steps between the rows of the curves.
        valid_batches: batches of the valid split measured at each checkpoint; 0 for none.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: how many of the last checkpoints stay.
        pictures_every: steps between transfer matrices; 0 for none.
        max_skipped: steps in a row with a loss or gradient that is no finite number, after which the run stops.

    Raises:
        InputError: a value that makes no sense; the message names the flag.
    """

    steps: int = within(1, None, 100_000)
    batch_size: int = within(1, None, 16)
    seed: int = within(0, 2**31 - 1, 0)
    optimizer: str = one_of("adam", "muon")
    learning_rate: float = 1e-3
    warmup: int = within(0, None, 0)
    reconstruction: str = one_of("l1_ssim", "l1", "vgg19", "mse")
    vgg_weights: str = "imagenet"
    feature_weights: tuple[float, ...] = (1.0,) * 6
    gram_weights: tuple[float, ...] = (0.0,) * 6
    kl_schedule: str = one_of("ramp", "constant")
    kl_weight: float = within(0, None, 1.0)
    ema: float = 0.999
    mixed_precision: str = one_of("float32", "mixed_bfloat16")
    appearance_from: str = one_of("self", "other")
    mirror: bool = False
    mirror_appearance: bool = False
    shift: int = within(0, None, 0)
    hue: float = within(0, 0.5, 0.0)
    steps_per_call: int = within(1, None, 10)
    init_batches: int = within(1, None, 4)
    log_every: int = within(1, None, 100)
    valid_batches: int = within(0, None, 10)
    checkpoint_every: int = within(1, None, 1000)
    keep_checkpoints: int = within(1, None, 3)
    pictures_every: int = within(0, None, 1000)
    max_skipped: int = within(1, None, 20)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.demand(self.learning_rate > 0, "learning_rate", "must be a number above 0")
        self.demand(0 <= self.ema < 1, "ema", "must be in [0, 1)")
        for flag in ("feature_weights", "gram_weights"):
            weights, layers = getattr(self, flag), len(getattr(TrainingConfig, flag))
            if len(weights) != layers or not all(0 <= weight < math.inf for weight in weights):
                given = ",".join(f"{weight:g}" for weight in weights)
                raise InputError(f"--{flag}={given}: must be {layers} numbers from 0 on, of the input and five layers")

    def check_size(self, image_size: int) -> None:
        """Raises InputError where pictures of this side, in pixels, cannot be trained on so; it names the flag."""
        if self.shift >= image_size:
            raise InputError(f"--shift={self.shift}: must be less than the pictures' side, {image_size} pixels")
        if self.reconstruction == "vgg19" and image_size < SMALLEST_VGG19_SIDE:
            raise InputError(
                f"--reconstruction=vgg19 needs pictures of at least {SMALLEST_VGG19_SIDE} pixels, and the dataset's "
                f"have {image_size}: use --reconstruction=l1_ssim"
            )


@dataclasses.dataclass(frozen=True)
class RunConfig(Settings):
    """Where a training reads and writes, and on what it runs.

    Attributes:
        dataset_dir: a dataset made by `python -m vunet_tf.prepare`.
        run_dir: folder of the run; a run that is there goes on.
        init_from: run or preset to begin from: its weights, and a run's optimizer slots. Steps and schedules are
            counted anew.
        replicas: devices to use: 0 for all GPUs; without a GPU, so many parts of the CPU.
        cluster: how a training on several machines knows them. "tf_config": from the environment variable TF_CONFIG,
            which Kubeflow sets (without it this machine is alone); "slurm": from the variables that `srun` sets.
        cluster_port: --cluster=slurm: the first task of each machine listens at this port, the next ones at the ports
            after it. Two trainings that share a machine need different ones.
        deterministic: only operations that give the same bits each time (slower).
    """

    dataset_dir: str | None = None
    run_dir: str | None = None
    init_from: str | None = None
    replicas: int = within(0, None, 0)
    cluster: str = one_of("tf_config", "slurm")
    cluster_port: int = within(1024, 65_000, 8888)
    deterministic: bool = False


@dataclasses.dataclass(frozen=True)
class EvaluationConfig(Settings):
    """What an evaluation measures, and on what.

    Attributes:
        split: splits, with commas between; by default valid, valid_appearance and valid_shape where there are.
        sections: what to measure, with commas between.
        reference: transfer: which picture of each appearance the model sees: "first" of each, or key=value,... for the
            first with these attributes (or name, shape_id). By default action=idle,direction=down,t=0 for sprites, else
            first. It comes from the split with the same appearances in seen shapes (valid: valid_appearance,
            valid_shape: train), or from the split itself.
        max_examples: examples per split, evenly spread; 0 for all.
        batch_size: pictures made at a time.
        samples: likelihood: samples of z in the tighter bound.
        vgg_weights: for the VGG19 distance: "imagenet" (downloaded once), or a file of VGG19 weights.
        inception_weights: for inception score and FID: a file of Keras InceptionV3 weights.
        seed: of all random numbers.

    Raises:
        InputError: an unknown section.
    """

    split: tuple[str, ...] = ()
    sections: tuple[str, ...] = SECTIONS
    reference: str | None = None
    max_examples: int = within(0, None, 2000)
    batch_size: int = within(1, None, 32)
    samples: int = within(1, None, 16)
    vgg_weights: str | None = None
    inception_weights: str | None = None
    seed: int = within(0, None, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [section for section in self.sections if section not in SECTIONS]:
            raise InputError(f"--sections={','.join(unknown)}: must be some of {', '.join(SECTIONS)}")
