# %% [markdown]
# # CHEST in a LightningModule of your own
# CHEST (arXiv 2510.05643) takes a loss in Euclidean space on the features of a network and one in hyperbolic space
# behind a head. No app of this repository is needed: here it is in a LightningModule of your own, which learns from
# scikit-learn's handwritten digits. It needs geomdml, lightning and scikit-learn.

# %%
import warnings

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from geomdml.losses import CHESTLoss
from geomdml.metrics import retrieval
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Euclidean, Hyperbolic

# %% [markdown]
# The head maps features to tangent vectors at the origin; the loss maps its proxies through the same head. Proxies
# get a learning rate of their own from `parameter_groups`.


# %%
class Embedding(lightning.LightningModule):
    def __init__(self, classes=10, features=64, lr=3e-3, proxy_lr=3e-2):
        super().__init__()
        self.save_hyperparameters()
        self.backbone = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, features))
        self.head = HyperbolicHead(features, 16, space=Hyperbolic(c=0.5))
        self.loss = CHESTLoss(classes, features)

    def training_step(self, batch, _):
        images, labels = batch
        terms = self.loss.terms(self.backbone(images), labels, head=self.head)
        self.log_dict({"loss": terms.total, "hyperbolic": terms.hyperbolic, "euclidean": terms.euclidean})
        return terms.total

    def configure_optimizers(self):
        network = [*self.backbone.parameters(), *self.head.parameters()]
        groups = self.loss.parameter_groups(self.hparams.lr, self.hparams.proxy_lr)
        return torch.optim.AdamW([{"params": network}, *groups], lr=self.hparams.lr)


# %%
lightning.seed_everything(0, verbose=False)
digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 16
labels = torch.tensor(digits.target)
training = torch.rand(len(labels)) < 0.5
data = DataLoader(TensorDataset(images[training], labels[training]), batch_size=128, shuffle=True)
model = Embedding()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Lightning's advice on workers and logging
    trainer = lightning.Trainer(
        max_epochs=10,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)

# %% [markdown]
# Retrieval among the images that were not in training: by pixels, by the Euclidean output E and by the hyperbolic
# output H.

# %%
model.eval()
x, y = images[~training], labels[~training]
with torch.no_grad():
    features = model.backbone(x)
    scores = {
        "pixels": retrieval(x, y, space=Euclidean()),
        "E": retrieval(features, y, space=Euclidean()),
        "H": retrieval(model.head(features), y, space=model.head.space),
    }
for name, score in scores.items():
    print(f"{name:6}  Recall@1 {score.recall[1]:.1%}  MAP@R {score.map_at_r:.1%}")
assert min(scores["E"].map_at_r, scores["H"].map_at_r) > scores["pixels"].map_at_r + 0.1
