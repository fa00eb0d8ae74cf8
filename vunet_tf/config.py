"""The configuration of a model and of its training: each field is a flag of the same name."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from vunet_tf.files.errors import InputError

PICTURE_CHANNELS = 3
CUT_PARTS = (8, 10)  # into how many body parts a person can be cut (vunet_tf.body.skeleton.BODY_PARTS)
SMALLEST_VGG19_SIDE = 16  # pixels: four poolings come before the last layer
# What an evaluation can measure.
SECTIONS = ("reconstruction", "transfer", "disentanglement", "likelihood", "distribution", "pose", "samples")


def one_of(*choices: str, optional: bool = False) -> Any:
    """A setting that is one of these values. The default is the first, or None where the setting is optional."""
    return dataclasses.field(default=None if optional else choices[0], metadata={"choices": choices})


def within(least: float | None, most: float | None, default: float | None) -> Any:
    """A number between two bounds, both included; None for no bound."""
    return dataclasses.field(default=default, metadata={"least": least, "most": most})


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all settings have in common: when they are made, each value is checked against what its field allows.

    Raises:
        InputError: a value has the wrong type, is none of the choices, or is out of bounds. The message names it.
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
        """Raises InputError unless the condition holds. The message says what the flag has to be."""
        if not condition:
            raise InputError(f"--{flag}={getattr(self, flag)}: {wanted}")


def told(known: Mapping) -> str:
    """What a setting can be, in words, from its field's metadata. "" where it can be anything."""
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
        image_size: side of the square picture and of its shape map in pixels, a power of two from 2 to 4,096. `train`
            takes it from the dataset and refuses another value.
        shape_channels: number of channels of the shape map: 3 for a stickman, 1 or 3 for edges and body maps. `train`
            takes it from the dataset and refuses another value.
        appearance: what the appearance encoder F sees. "parts": crops of body parts, turned upright (released program);
            they need joints. "picture": the picture and its shape map (paper).
        latent: where the code z of the appearance is kept. "maps": in small feature maps at the bottom of the decoder
            (released program). "laid": in one code for each part of the figure. The decoder gets each code at the place
            where its part lies in the wanted shape. Training finds the parts by itself, without labels. "laid" needs
            --appearance=picture.
        parts: number of parts. With --appearance=parts, of the body parts that are cut out for F (8, or 10 with the
            shins). With --latent=laid, of the parts that training finds.
        code_channels: how many numbers the code of one part has. Only with --latent=laid, which needs 3 or more.
        map_factor: the part maps, which say where the parts lie, have a side of image_size / 2**map_factor pixels. Only
            with --latent=laid, which needs a side of at least 8.
        box_factor: the crops of body parts have a side of image_size / 2**box_factor pixels. Only with
            --appearance=parts.
        bottleneck_factor: the smallest feature map has a side of 2**bottleneck_factor positions.
        width: number of channels at full resolution. It doubles at every coarser scale, up to --max_width. With
            --model=realnvp it is the width of the networks inside the couplings.
        max_width: largest number of channels at any scale; at least --width.
        blocks_per_scale: number of residual blocks at each scale of E, F and D (in the other models, of encoder and
            decoder). With --model=realnvp, in each network inside a coupling.
        latent_scales: number of scales that carry a z, counted from the bottom up (--latent=maps). 0 leaves z out (the
            ablation "no z"). With --latent=laid only this 0 makes a difference; all other values mean the same. Only
            with --model=vunet.
        variance: only with --model=vunet: the variance of the Gaussians of posterior and prior: "unit" (released
            program), or "learned" for each number of z.
        prior: the distribution from which samples of z are drawn. "autoregressive": p(z | shape), position by position
            (released program), or part by part with --latent=laid. "standard_normal": p(z), the same for all shapes
            (ablation). "flow": p(z | shape) as a normalising flow. With --model=cvae, "standard_normal" is N(0, 1), and
            both other values mean one Gaussian that depends on the shape. The other models ignore this flag.
        activation: the activation function: "elu" (released program), or "leaky_relu", which is faster.
        dropout: rate of dropout inside the residual blocks, from 0 to below 1. It is rounded to the nearest 1 / 256.
            --model=realnvp has no dropout.
        weight_norm: use weight-normalised convolutions (released program). Without it they are plain convolutions.
        model: which model (docs/models.md). "vunet": the Variational U-Net. "ae": an autoencoder. "vae": a variational
            autoencoder. "vae_joint": the same, where one half of z is meant for the shape. "cvae": a conditional VAE,
            which gets the shape at the bottleneck only. "realnvp": a normalising flow over pictures.
            "bigan": a generator and an encoder, trained by a discriminator of pairs of picture and z.
        code_size: how many numbers z has in the models ae, vae, vae_joint, cvae and bigan; for vae_joint an even
            number.
        linear: only with --model=ae: the encoder and the decoder are one linear layer each, without residual blocks.
        picture_variance: only with the models vae, vae_joint and cvae: the standard deviation of p(x | z).
            "learned": the decoder gives one for each value. "fixed": it is --picture_scale everywhere.
        picture_scale: the standard deviation with --picture_variance=fixed, above 0. Pictures are in [-1, 1].
        couplings: only with --model=realnvp: number of affine couplings with each kind of mask at each scale. The
            paper of RealNVP has 3.
        levels: only with --model=realnvp: number of different values that a colour of the pictures can have. It is not
            read from the data: give a smaller number if the data has fewer values, for example 17 for the source
            digits.
        grey: only with --model=realnvp: model the mean of the three colours alone, for pictures in grey.
        texture_codes: number of codes of z, after those of the parts, that hold the texture of the trunk: stripes,
            checks, an emblem. Only with --latent=laid. With 0 the codes of the parts have to hold it. All of these
            codes together can hold 576 numbers: at most 576 / --code_channels codes.
        pose_free: take the pose out of z. A last layer of F turns its codes into the best guess of the codes that
            another picture of the same look would give. It learns this from pairs of pictures
            (--appearance_from=other). Only with --latent=laid.

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
        "bigan",
    )
    code_size: int = within(1, None, 64)
    linear: bool = False
    picture_variance: str = one_of("learned", "fixed")
    picture_scale: float = 0.1
    couplings: int = within(1, None, 3)
    levels: int = within(2, 256, 256)
    grey: bool = False
    texture_codes: int = within(0, None, 0)
    pose_free: bool = False

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
        self.demand(
            not self.pose_free or self.latent == "laid",
            "pose_free",
            "must be false: only the codes of --latent=laid can be freed of the pose",
        )
        if self.seen == ("parts",):
            wanted = f"must be {' or '.join(map(str, CUT_PARTS))} with --appearance=parts"
            self.demand(self.parts in CUT_PARTS, "parts", wanted)
        if self.latent == "maps":
            few = f"must be at most {scales}, the number of scales of F; a smaller --bottleneck_factor gives F more"
            self.demand(self.latent_scales <= scales, "latent_scales", few)
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
        """The keys of a batch that the appearance encoder sees, in the order in which it takes them."""
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
        """Shapes of the latents, from the bottom up: (height, width, channels) of each.

        --latent=laid has one, (codes, channels). Models with a bottleneck have one, (code_size,). The z of realnvp is
        as large as the picture: (numbers,)."""
        if self.model == "realnvp":
            return [(self.image_size**2 * (1 if self.grey else PICTURE_CHANNELS),)]
        if self.model != "vunet":
            return [(self.code_size,)]
        if self.latent == "laid":
            return [(self.parts + self.texture_codes, self.code_channels)] if self.latent_scales else []
        bottom = self.image_size >> (self.scales - 1)
        return [(bottom << i, bottom << i, self.widths[-1 - i]) for i in range(self.latent_scales)]


@dataclasses.dataclass(frozen=True)
class TrainingConfig(Settings):
    """How a model is trained. The defaults are the released program's, except the loss, which needs no download.

    Attributes:
        steps: number of training steps. The fall of the learning rate and --kl_schedule=ramp scale with it. --warmup
            and --ema do not.
        batch_size: number of pictures in a step, on all devices and machines together. It must be divisible by the
            number of machines and by the number of all devices.
        seed: seed of the initial weights, the order of the data and all noise.
        optimizer: "adam" (released program: momenta 0.5 and 0.9), or "muon", which learns more in a step
            (docs/laid.md): it makes the steps of 3x3 convolutions orthogonal and leaves the rest to Adam with momenta
            0.9 and 0.99.
        learning_rate: the largest learning rate, above 0. It stays for a hundredth of the steps, then falls linearly to
            0. With --optimizer=muon, the steps of 3x3 convolutions have singular values of about 10 times this rate.
        warmup: number of steps in which the learning rate first rises from 0. It is multiplied with the fall of
            --learning_rate. It does not scale with --steps: give less for a short run. The released program has none.
        reconstruction: the loss that compares pictures: "l1_ssim" (L1 of the pixels and structural similarity), "l1",
            "vgg19" (the paper's), or "mse". Some models do not use it: vae, vae_joint, cvae and realnvp state a
            likelihood by themselves, and bigan is trained by a discriminator alone.
        vgg_weights: the weights of VGG19 for --reconstruction=vgg19: "imagenet" (Keras downloads them once), or a file
            of weights without the classifier. VGG19 needs pictures of at least 16 pixels.
        feature_weights: only with --reconstruction=vgg19: weights of the terms that compare features. They are six
            numbers from 0 on, with commas between: for the picture itself and for the layers block1_conv2,
            block2_conv2, block3_conv2, block4_conv2 and block5_conv2.
        gram_weights: only with --reconstruction=vgg19: weights of the terms that compare Gram matrices, which say how
            often the features of a layer occur together, wherever in the picture. They are six numbers, in the order of
            --feature_weights. With 0 there is no such term.
        kl_schedule: how the weight of the KL term changes. "ramp": it is 1e-6 for half of the steps, rises to
            --kl_weight at three quarters of them, and stays there (released program). "constant": it is always
            --kl_weight.
        kl_weight: weight of the KL term (beta). With --kl_schedule=ramp it is the weight at the end.
        ema: momentum of the moving average of the weights, from 0 to below 1; 0 for no average. Validation, evaluation
            and export use the averaged weights. After n steps the momentum is at most (1 + n) / (10 + n).
        mixed_precision: number format of the training step: "float32", or "mixed_bfloat16", which is faster where the
            processor has bfloat16 instructions.
        quantisation_aware: round activations in training as int8 does, so that a file that is int8 throughout
            (`export.tflite --all_int8`) loses less (docs/export.md). Meant for a last, short round with --init_from. A
            step takes longer. Not with --prior=flow or --model=realnvp, whose networks must be exact.
        appearance_from: which picture the appearance encoder sees: "self", the one that is to be made (the paper), or
            "other", another picture of the same appearance, chosen anew each time. If an appearance has only one
            picture, "other" has no effect on it; see --mirror_appearance.
        mirror: flip half of the examples, chosen at random, from left to right. Left and right joints are exchanged.
            What the appearance encoder sees is flipped with them.
        mirror_appearance: flip half of the inputs of the appearance encoder, picture and shape map together.
        shift: move picture and shape map together at random, by up to this many pixels in x and in y, from 0 to the
            side of the pictures less 1. The edges are repeated. With --appearance_from=other, the other picture stays
            where it is.
        hue: turn the hues of the picture at random, by up to this part of the colour circle: 0.5 gives any hue. What
            the appearance encoder sees is turned with it. Greys stay.
        steps_per_call: number of steps that run in one call from Python. More of them save a little time, and the
            training can only stop after a call.
        init_batches: number of batches from which data-dependent initialisation sets the first scales and biases, of
            weight-normalised convolutions and of normalising flows.
        log_every: number of steps between two rows of the curves in metrics.csv. A row is the mean of the steps since
            the row before.
        valid_batches: number of batches of the valid split that are measured at each checkpoint; 0 for none. They also
            decide which model is kept: the one with the lowest loss (docs/training.md). With 0 it is the latest.
        checkpoint_every: number of steps between two checkpoints. There is also one after the last step.
        keep_checkpoints: number of checkpoints that are kept; older ones are removed.
        pictures_every: number of steps between two pictures of transfers; 0 for none. There is also one after the last
            step.
        max_skipped: steps whose loss or gradient is not finite are skipped. The run stops after this many in a row.
        adversarial: weight of an adversarial term beside the reconstruction, for the models vunet, ae, vae, vae_joint
            and cvae. A discriminator learns to tell true pairs of picture and shape map from made ones
            (docs/models.md). 0 for none; configs/compare/adversarial.flags has 40. --model=bigan always has a
            discriminator, and --model=realnvp never.
        r1: only with a discriminator: weight of the R1 penalty, which keeps it smooth.
        discriminator_rate: only with a discriminator: how many times the model's learning rate the discriminator has;
            above 0.

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
    quantisation_aware: bool = False
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
    adversarial: float = within(0, None, 0.0)
    r1: float = within(0, None, 0.1)
    discriminator_rate: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.demand(self.learning_rate > 0, "learning_rate", "must be a number above 0")
        self.demand(0 <= self.ema < 1, "ema", "must be in [0, 1)")
        self.demand(self.discriminator_rate > 0, "discriminator_rate", "must be a number above 0")
        for flag in ("feature_weights", "gram_weights"):
            weights, layers = getattr(self, flag), len(getattr(TrainingConfig, flag))
            if len(weights) != layers or not all(0 <= weight < math.inf for weight in weights):
                given = ",".join(f"{weight:g}" for weight in weights)
                raise InputError(f"--{flag}={given}: must be {layers} numbers from 0 on, of the input and five layers")

    def check_size(self, image_size: int) -> None:
        """Raises InputError if these settings cannot train on pictures of this side (pixels). It names the flag."""
        if self.shift >= image_size:
            raise InputError(f"--shift={self.shift}: must be less than the pictures' side, {image_size} pixels")
        if self.reconstruction == "vgg19" and image_size < SMALLEST_VGG19_SIDE:
            raise InputError(
                f"--reconstruction=vgg19 needs pictures of at least {SMALLEST_VGG19_SIDE} pixels, and the dataset's "
                f"have {image_size}: use --reconstruction=l1_ssim"
            )


@dataclasses.dataclass(frozen=True)
class RunConfig(Settings):
    """Where a training reads and writes, and on which devices it runs.

    Attributes:
        dataset_dir: folder of a dataset made by `python -m vunet_tf.prepare`.
        run_dir: folder of the run. A run that is there already goes on.
        init_from: folder of a run, or name of a preset, whose weights a new run begins with. A run that goes on does
            not read it. All layers must have the same shapes. A run also gives its optimizer state; a preset has none.
            Steps and schedules begin at 0.
        replicas: number of devices to use. 0 uses all GPUs, or the whole CPU where there is no GPU. Without a GPU,
            another number divides the CPU into so many devices. More than there are GPUs is an error. With
            --cluster=slurm, or with TF_CONFIG in the environment, this flag is ignored.
        cluster: how the machines of one training find each other. "tf_config": from the environment variable
            TF_CONFIG, which Kubeflow sets; without it, this machine trains alone. "slurm": from the variables that
            `srun` sets.
        cluster_port: only with --cluster=slurm: the first task of each machine listens at this port, the next tasks at
            the ports after it. Two trainings that share a machine need different ports.
        deterministic: use only operations that give the same bits each time. They are slower.
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
        split: names of the splits to measure, with commas between. By default valid, valid_appearance and valid_shape,
            as far as the dataset has them.
        sections: what to measure, with commas between, out of reconstruction, transfer, disentanglement, likelihood,
            distribution, pose and samples. By default everything.
        reference: for the section transfer: which picture of each appearance the model sees. "first": the first one.
            key=value,...: the first one with these attributes (or with this name or shape_id). By default
            action=idle,direction=down,t=0 for sprites, and first for others. For the split valid it comes from
            valid_appearance, and for valid_shape from train, as far as the dataset has them. In all other cases it
            comes from the split itself.
        by: for the section transfer: name of an attribute of the data. The error is then also given for each of its
            values, for example "pattern" for the patterns of drawn people's shirts.
        max_examples: number of examples measured per split, evenly spread over it; 0 for all. The sections likelihood
            and pose never take more than 256, and samples never more than 512.
        batch_size: number of pictures made at a time.
        samples: for the section likelihood: number of samples of z in the tighter (importance-weighted) bound. With
            --model=realnvp, which needs no bound: number of draws of the dequantisation noise.
        vgg_weights: weights of VGG19 for the VGG19 distance: "imagenet" (Keras downloads them once), or a file. Without
            it, this distance is not measured.
        inception_weights: a file of Keras InceptionV3 weights, for inception score and FID. Without it, these two are
            not measured.
        seed: seed of all random numbers. The same seed gives the same results.

    Raises:
        InputError: an unknown section.
    """

    split: tuple[str, ...] = ()
    sections: tuple[str, ...] = SECTIONS
    reference: str | None = None
    by: str | None = None
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
