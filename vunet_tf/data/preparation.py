"""From an opened source to a dataset on disk, on all cores, with a progress bar and no half-written files."""

import os
from contextlib import closing
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vunet_tf.data.dataset import DatasetInfo, write_dataset
from vunet_tf.data.example import Rejected
from vunet_tf.data.sources.source import Source
from vunet_tf.data.splits import split_by_hash
from vunet_tf.data.workers import Scheduler, made_in_order

_ORDER_SEED = 20180404  # items are written in one fixed random order, so that shards are mixed


def prepare(
    source: Source,
    directory: Path | str,
    name: str,
    flags: dict,
    overwrite: bool = False,
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    max_items: int | None = None,
) -> DatasetInfo:
    """Makes every picture of a source and writes the dataset. The same source gives the same bytes.

    Args:
        source: an opened source.
        directory: folder of the dataset that is made.
        name: name of the source, for `dataset.json`.
        flags: flags to note in `dataset.json`.
        overwrite: whether a dataset of that name may be replaced.
        workers: number of processes. By default one for each core.
        scheduler: a cluster that makes the pictures instead. The dataset is written here, and is the same.
        max_items: make at most so many items, drawn at random. The same number draws the same items, and a larger
            number draws these and more. By default all.

    Returns:
        What `dataset.json` says.

    Raises:
        InputError: if it cannot be written, no picture is left, or the cluster cannot do the work.
    """
    order = np.random.default_rng(_ORDER_SEED).permutation(len(source.items))[:max_items]
    with write_dataset(directory, overwrite) as writer:
        for rejected in source.rejects:
            writer.reject(rejected)
        made_items = made_in_order(source, order, workers or os.cpu_count() or 1, scheduler)
        progress = tqdm(made_items, total=len(order), unit=" items", desc=f"preparing {name}", disable=None)
        with closing(made_items), progress as bar:  # if the work is stopped, its processes end before the files go

            def examples():
                for result in chain.from_iterable(bar):
                    if isinstance(result, Rejected):
                        writer.reject(result)
                        bar.set_postfix_str(f"{writer.reasons.total()} left out", refresh=False)
                    else:
                        yield result

            for example in split_by_hash(examples(), source.valid_fraction):
                writer.add(example)
        return writer.finish(
            source=name,
            made_with={"flags": flags, "how": source.how},
            image_size=source.image_size,
            joints=source.joints,
            shape_channels=source.shape_channels,
        )
