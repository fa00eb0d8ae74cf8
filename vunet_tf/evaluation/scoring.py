"""How near made pictures are to the truth, for each example. Reconstruction and transfer share these scores."""

from collections import defaultdict

import numpy as np

from vunet_tf.evaluation import metrics
from vunet_tf.evaluation.measures import Measure, Missing, Quantity, mean, measured
from vunet_tf.files.pixels import to_float
from vunet_tf.objective.perceptual import VGG19Features

SSIM_PROTOCOL = "tf.image.ssim on RGB, range 255, 11 x 11 Gaussian windows, sigma 1.5, no padding"
QUANTITIES = {
    "error_figure": Quantity("mean |error| inside the figure", "0-255", "lower"),
    "ssim_figure": Quantity("SSIM inside the figure", "", "higher"),
    "delta_e": Quantity("colour error inside the figure, CIEDE2000", "Delta E", "lower"),
    "lightness": Quantity("lightness error inside the figure, CIELAB |dL*|", "", "lower"),
    "green_magenta": Quantity("green-magenta error inside the figure, CIELAB |da*|", "", "lower"),
    "blue_yellow": Quantity("blue-yellow error inside the figure, CIELAB |db*|", "", "lower"),
    "error": Quantity("mean |error|, whole picture", "0-255", "lower"),
    "ssim": Quantity("SSIM, whole picture", "", "higher"),
    "psnr": Quantity("PSNR, whole picture", "dB", "higher"),
    "vgg": Quantity("VGG19 distance", "", "lower"),
}
SHARPNESS = Quantity("sharpness: gradient energy over that of the true pictures", "", "")
OF_FIGURE = ("error_figure", "ssim_figure", "delta_e", *metrics.LAB_AXES)


class Scorer:
    """Scores of made pictures against true ones.

    Args:
        vgg: `VGG19Features` for the VGG19 distance, or None to leave it out.
    """

    def __init__(self, vgg: VGG19Features | None = None):
        self._vgg = vgg

    def __call__(self, truth: np.ndarray, made: np.ndarray, masks: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Scores [B] of pictures [B, S, S, 3] uint8, by key: those of QUANTITIES, and the two energies of `SHARPNESS`.

        With masks [B, S, S], scores inside the figure are among them."""
        scores = {
            "error": metrics.absolute_error(truth, made),
            "ssim": metrics.ssim(truth, made),
            "psnr": metrics.psnr(truth, made),
            "energy": metrics.gradient_energy(made),
            "true_energy": metrics.gradient_energy(truth),
        }
        if masks is not None:
            scores["error_figure"] = metrics.absolute_error(truth, made, masks)
            scores["ssim_figure"] = metrics.ssim(truth, made, masks)
            scores |= metrics.lab_errors(truth, made, masks)
        if self._vgg is not None:
            scores["vgg"] = np.asarray(self._vgg.distance(to_float(truth), to_float(made)))
        return scores


class Tally:
    """Collects the scores of many batches, for the model and for each baseline."""

    def __init__(self, section: str, split: str):
        self.section, self.split = section, split
        self.positions: list[int] = []
        self._values = defaultdict(lambda: defaultdict(list))
        self._appearances = defaultdict(list)

    def add(self, of: str, scores: dict[str, np.ndarray], appearances: list[str]) -> None:
        """Adds the scores [B] of a batch; `of` says whose pictures they are of. Also adds the examples' appearances."""
        for key, values in scores.items():
            self._values[of][key].append(values)
        self._appearances[of] += appearances

    def has(self, of: str, key: str) -> bool:
        """Whether scores of this kind were added."""
        return key in self._values.get(of, {})

    def values(self, of: str, key: str) -> np.ndarray:
        """All scores of one kind, [N], in the order they came."""
        return np.concatenate(self._values[of][key])

    def appearances(self, of: str) -> list[str]:
        """The appearance of each example, in the same order."""
        return self._appearances[of]

    def measures(self, seed: int) -> list[Measure | Missing]:
        """The means of everything that was added."""
        made = []
        for key, quantity in QUANTITIES.items():
            with_it = [of for of in self._values if key in self._values[of]]
            made += [
                mean(self.section, self.split, quantity, of, self.values(of, key), self._appearances[of], seed)
                for of in with_it
            ]
            if not with_it:
                why = "the dataset has no masks" if key in OF_FIGURE else "needs --vgg_weights"
                made.append(Missing(self.section, self.split, quantity.name, why))
        for of, appearances in self._appearances.items():
            ratio = metrics.ratio_interval(self.values(of, "energy"), self.values(of, "true_energy"), appearances, seed)
            made.append(measured(self.section, self.split, SHARPNESS, of, ratio, appearances))
        return made
