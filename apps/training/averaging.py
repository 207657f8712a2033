"""Which weights a test takes where training averaged them."""

from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging

from apps.training.callbacks import callbacks_of


def checkpoint_to_test(trainer: L.Trainer, best: Path) -> Path:
    """The best checkpoint; after a stochastic weight averaging that of the mean, saved beside it: no score chose it."""
    for each in callbacks_of(trainer, WeightAveraging):
        each._average_model = None  # it would load the last step's weights instead of the checkpoint's mean
    ended = (
        each.n_averaged and trainer.current_epoch > each.swa_end
        for each in callbacks_of(trainer, StochasticWeightAveraging)
    )
    if not any(ended):
        return best
    averaged = best.with_name("averaged.ckpt")
    trainer.save_checkpoint(averaged)
    if trainer.is_global_zero:
        print(f"averaged weights: {averaged}; the test is theirs", flush=True)
    return averaged
