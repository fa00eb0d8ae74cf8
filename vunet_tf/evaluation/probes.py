"""Linear probes: what can be read from z. It should tell everything about the appearance, and nothing of the pose."""

import json
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from vunet_tf.body.keypoints import seen
from vunet_tf.body.skeleton import JOINTS
from vunet_tf.evaluation.examples import batches, progress, text
from vunet_tf.evaluation.measures import Measure, Missing, Quantity, mean, measured
from vunet_tf.evaluation.metrics import ratio_interval
from vunet_tf.models.generative import GenerativeModel

SECTION = "disentanglement"
PROBE = "probe of z"
CHANCE = "chance"
FOLDS = 5
COMPONENTS = 64  # number of principal components to which z is reduced, without looking at labels
FEWEST = 5  # least number of appearances that show a class; rarer classes are left out
MOST_CLASSES = 200
RIDGE_PENALTIES = np.logspace(-2, 5, 8)
one_thread = threadpool_limits.wrap(limits=1)  # the matrices are small, so threads would mostly wait for each other


def encodings(
    model: GenerativeModel, directory: Path | str, split: str, positions: list[int], batch_size: int
) -> tuple[np.ndarray, dict[str, list]]:
    """(z, known): z [N, D] float32 has the posterior's means of all scales; known has labels and joints by key."""
    z, known = [], {"appearance_id": [], "shape_id": [], "attributes": [], "joints": []}
    crops = model.appearance_input.crops
    for batch in batches(directory, split, positions, batch_size, f"encoding {split}", crops):
        encoded = model.encode({key: value for key, value in batch.items() if value.dtype == np.float32})
        z.append(np.concatenate([scale.numpy().reshape(len(scale), -1) for scale in encoded], axis=1))
        known["appearance_id"] += text(batch["appearance_id"])
        known["shape_id"] += text(batch["shape_id"])
        known["attributes"] += map(json.loads, text(batch["attributes"]))
        known["joints"] += list(batch.get("joints", ()))
    return np.concatenate(z), known


def reduced(z: np.ndarray, seed: int) -> np.ndarray:
    """The leading principal components of z, [N, at most 64]. Their variance is 1 on average."""
    centred = StandardScaler(with_std=False).fit_transform(z)
    components = min(COMPONENTS, *centred.shape)
    made = PCA(components, svd_solver="randomized", random_state=seed).fit_transform(centred)
    return made / max(made.std(), 1e-12)


def _folds(groups, asked):
    """(rows to fit, rows to test): folds of the rows in `asked`, by group. All other rows are only fitted."""
    rows, others = np.flatnonzero(asked), np.flatnonzero(~asked)
    for train, test in GroupKFold(FOLDS).split(rows, groups=groups[rows]):
        yield np.concatenate([rows[train], others]), rows[test]


@one_thread
def accuracy(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Whether a logistic regression is right about each example in `asked` ([N] bools), as bools in their order.

    Cross-validation has 5 folds by group, so no appearance is both in the training and in the test part of a fold.
    """
    right = np.zeros(len(labels), bool)
    for train, test in _folds(groups, asked):
        if len(set(labels[train].tolist())) == 1:
            right[test] = labels[test] == labels[train][0]
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # if it has not converged, it reads a little less
            probe = LogisticRegression(max_iter=300).fit(features[train], labels[train])
        right[test] = probe.predict(features[test]) == labels[test]
    return right[asked]


def most_frequent(labels: np.ndarray) -> np.ndarray:
    """Chance: whether the most frequent label is right for each example, [N] bools."""
    return labels == Counter(labels.tolist()).most_common(1)[0][0]


@one_thread
def explained(
    features: np.ndarray, targets: np.ndarray, groups: np.ndarray, asked: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors of a ridge regression of [N, K] targets, and of guessing their mean; folds as in `accuracy`."""
    errors, variances = np.zeros(len(targets)), np.zeros(len(targets))
    for train, test in _folds(groups, asked):
        guessed = RidgeCV(RIDGE_PENALTIES).fit(features[train], targets[train]).predict(features[test])
        errors[test] = np.square(guessed.reshape(targets[test].shape) - targets[test]).sum(1)
        variances[test] = np.square(targets[train].mean(0) - targets[test]).sum(1)
    return errors[asked], variances[asked]


def measure(
    z: np.ndarray, known: dict[str, list], split: str, seed: int, more: tuple[np.ndarray, dict[str, list]] | None = None
) -> list[Measure | Missing]:
    """How well joints, shape and attributes are read from z, beside chance.

    Args:
        z, known: `encodings` of the split.
        split, seed: name of the split, and seed of the random numbers.
        more: `encodings` of other examples (z, known), on which probes of joints and attributes are also fitted.
            Examples of appearances that the split has are left out.
    """
    if len(set(known["appearance_id"])) < FOLDS:
        why = f"the split has {len(set(known['appearance_id']))} appearances; cross-validation takes {FOLDS}"
        return [Missing(SECTION, split, "probes of z", why)]
    asked = np.ones(len(z), bool)
    if more:
        z, known, asked = _joined(z, known, *more)
    groups = np.array(known["appearance_id"])
    features = reduced(z, seed)
    found: list[Measure | Missing]
    if known["joints"]:
        found = _joints(features, np.array(known["joints"]), groups, asked, split, seed)
    else:
        found = [Missing(SECTION, split, "joints read from z", "the dataset has no joints")]
    of_shape, of_appearance = _labels(known)
    for kind, labels in (("pose", of_shape), ("attribute", of_appearance)):
        rights, chances, members = [], [], []
        for name, values in progress(labels.items(), desc=f"probes of {kind}s", unit=" probes"):
            # Other examples have other shapes. Their names say nothing about the shapes of the split.
            kept = _frequent(values, groups, among=asked if kind == "pose" else np.ones(len(z), bool))
            if kept is None or len(set(groups[kept & asked].tolist())) < FOLDS:
                continue
            right = accuracy(features[kept], values[kept], groups[kept], asked[kept])
            chance, of = most_frequent(values[kept & asked]), groups[kept & asked]
            quantity = Quantity(f"{kind} read from z: {name}", "accuracy", "lower" if kind == "pose" else "higher")
            found.append(mean(SECTION, split, quantity, PROBE, right, of, seed))
            found.append(mean(SECTION, split, quantity, CHANCE, chance, of, seed))
            rights, chances, members = [*rights, *right], [*chances, *chance], [*members, *of]
        if rights:
            quantity = Quantity(f"all {kind}s read from z", "accuracy", "lower" if kind == "pose" else "higher")
            found.append(mean(SECTION, split, quantity, PROBE, rights, members, seed))
            found.append(mean(SECTION, split, quantity, CHANCE, chances, members, seed))
        else:
            why = f"no label of the {kind} has two classes with {FEWEST} appearances each"
            found.append(Missing(SECTION, split, f"{kind}s read from z", why))
    return found


def _joined(z, known, more_z, more_known):
    """(z, labels, which rows are of the split), for the split and then for other examples with other appearances."""
    new = ~np.isin(more_known["appearance_id"], known["appearance_id"])
    joined = {
        key: values + [value for value, kept in zip(more_known[key], new, strict=True) if kept]
        for key, values in known.items()
        if len(more_known[key]) == len(new)
    }
    asked = np.arange(len(z) + new.sum()) < len(z)
    return np.concatenate([z, more_z[new]]), {**known, **joined}, asked


def _joints(features, joints, groups, asked, split, seed):
    """R^2 of all joints together. Each joint counts where it is seen."""
    errors, variances = np.zeros(len(features)), np.zeros(len(features))
    visible = seen(joints)
    for joint in range(len(JOINTS)):
        rows = visible[:, joint]
        if len(set(groups[rows & asked].tolist())) >= FOLDS:
            error, variance = explained(features[rows], joints[rows, joint], groups[rows], asked[rows])
            errors[rows & asked] += error
            variances[rows & asked] += variance
    quantity = Quantity("joints read from z (chance: 0)", "R^2", "lower")
    if not variances.any():
        return [Missing(SECTION, split, quantity.name, "no joint is seen often enough, or none moves")]
    ratio, low, high = ratio_interval(errors[asked], variances[asked], groups[asked], seed)
    return [measured(SECTION, split, quantity, PROBE, (1 - ratio, 1 - high, 1 - low), groups[asked])]


def _labels(known):
    """({name: labels of the shape}, {name: labels of the appearance}), [N] strings each.

    An attribute belongs to the appearance if it is the same in all examples of one appearance. The others belong to the
    shape.
    """
    names = sorted({name for attributes in known["attributes"] for name in attributes})
    of_shape, of_appearance = {"shape_id": np.array(known["shape_id"])}, {}
    for name in names:
        values = [attributes.get(name) for attributes in known["attributes"]]
        if any(isinstance(value, (list, dict, float)) for value in values):
            continue  # measured quantities, for example the box from which a picture was cut
        labels = np.array(list(map(str, values)))
        pairs = set(zip(known["appearance_id"], labels.tolist(), strict=True))
        fixed = len(pairs) == len(set(known["appearance_id"]))
        (of_appearance if fixed else of_shape)[name] = labels
    return of_shape, of_appearance


def _frequent(labels, groups, among):
    """Rows in `among` of classes that enough appearances show there. None with fewer than two classes or too many."""
    shown = Counter(label for label, _ in set(zip(labels[among].tolist(), groups[among].tolist(), strict=True)))
    classes = [label for label, appearances in shown.items() if appearances >= FEWEST]
    return among & np.isin(labels, classes) if 2 <= len(classes) <= MOST_CLASSES else None
