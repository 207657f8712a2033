"""One training of a study of CHEST, on maps that the frozen part of the backbone made once."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from apps.chest_vit.data import RetrievalData
from apps.chest_vit.losses import NAMED, start_proxies
from apps.chest_vit.model import CHEST
from apps.chest_vit.own_proxies import clip_gradients
from apps.chest_vit.studies.cached_maps import KeptMaps, Part
from apps.chest_vit.studies.observations import ambiguity, correlation, gradient_norms, means
from apps.compare import loop
from apps.compare.harness import Evaluation, SearchSpace, Settings, Trial
from apps.evaluation.scores import radius_spread, scores
from apps.training.divergence import check_finite
from apps.training.sampling import ClassBalanced, Draw, seed_of

VARIANTS = 8  # augmented forms of a training image that are kept
WATCHED = 10  # steps from one look at the gradients to the next


class ChestExperiment:
    """Trains CHEST, parts of it or a rival from a seed, and scores both outputs on validation or test images.

    The score is Recall@1 of the output that a candidate is about: the hyperbolic one where it has a hyperbolic half,
    the Euclidean one where not, by the cosine where its loss is one of cosines.

    Args:
        model: says all that a candidate does not.
        data: the images.
        candidates: the settings of the model that each may choose from.
        epochs: of a training.
        clip_gradients: norm of the gradient beyond which it is cut back; None never.
        device: to train on.
    """

    score = "Recall@1"

    def __init__(
        self,
        model: CHEST,
        data: RetrievalData,
        candidates: Mapping[str, SearchSpace],
        *,
        epochs: int,
        clip_gradients: float | None,
        device: torch.device,
    ) -> None:
        self.candidates = candidates
        self.data, self.epochs, self.clip_gradients, self.device = data, epochs, clip_gradients, device
        self.settings = {name: model.hparams[name] for name in CHEST.arguments() if name not in ("num_classes", "seed")}
        self.maps = KeptMaps(model.to(device), data, variants=VARIANTS)

    @property
    def fixed(self) -> Mapping[str, Any]:
        data = {
            name: value for name, value in self.data.hparams.items() if name not in ("seed", "workers", "eval_batch")
        }
        return {
            "model": self.settings,
            "data": data,
            "epochs": self.epochs,
            "clip_gradients": self.clip_gradients,
            "variants": self.maps.variants if self.maps.layers else None,
        }

    def train(self, trial: Trial) -> Iterator[Evaluation]:
        part: Part = "test" if trial.stage == "final" else "validation"
        gradients: list[dict[str, float]] = []

        def score(model: CHEST, at_the_end: bool) -> dict[str, float]:
            found = self.scores(model, part) | means(gradients)
            if at_the_end and trial.stage == "final":
                found["radius ~ class size"] = correlation(*self.radii_and_sizes(model))
            gradients.clear()
            return found

        return self.run(trial, score, lambda step, norms: gradients.append(norms))

    def run(
        self,
        trial: Trial,
        score: Callable[[CHEST, bool], dict[str, float]],
        watch: Callable[[int, dict[str, float]], None],
    ) -> Iterator[Evaluation]:
        """Train a trial.

        Args:
            score: the scores of the model; the second argument says whether the training is over.
            watch: called now and then with the number of a step, from 1, and its `gradient_norms`.
        """
        torch.manual_seed(trial.seed)
        settings = self.settings | model_settings(trial.settings)
        model = CHEST(self.data.num_classes, **settings, seed=trial.seed).to(self.device)
        if model.hparams["proxy_start"] == "features":
            self._start_proxies(model)
        h = self.data.hparams
        sizes = {"classes": h["classes_per_batch"], "per_class": h["per_class"], "steps": h["steps"]}
        batches = ClassBalanced(self.data.train.labels, **sizes, seed=trial.seed)
        labels = torch.from_numpy(self.data.train.labels)

        def step(draws: list[Draw], epoch: int, place: int) -> Tensor:
            torch.manual_seed(seed_of(trial.seed, epoch, place))
            features = self.maps.features(model, self.maps.training(draws)).float()
            rows = torch.tensor([draw.image for draw in draws])
            terms = model.terms(features, labels[rows].to(self.device))
            number = epoch * len(batches) + place + 1
            if number % WATCHED == 0:
                watch(number, gradient_norms(terms, features))
            check_finite(terms.total, "the loss", step=number)
            return terms.total

        def clip(optimizer: torch.optim.Optimizer, progress: float) -> None:
            if self.clip_gradients:
                clip_gradients(model, self.clip_gradients)

        return loop.train(
            trial,
            batches,
            step,
            lambda at_the_end: score(model, at_the_end),
            model.optimiser,
            epochs=self.epochs,
            before_update=clip,
        )

    def scores(self, model: CHEST, part: Part) -> dict[str, float]:
        """Recall@1 and MAP@R of both outputs, of H with one radius for all too, and where the points are."""
        found = self.outputs(model, part)
        if not all(bool(outputs.isfinite().all()) for outputs in found.values()):
            return {"Recall@1": float("nan")}
        labels = torch.from_numpy(self.maps.images(part).labels).to(self.device)
        queries = self.data.split.queries if part == "test" else None
        directions, radii = torch.nn.functional.normalize(found["H"]), found["H"].norm(dim=-1)
        embeddings = {
            "E": found["E"],
            "E, cosine": torch.nn.functional.normalize(found["E"]),
            "H": found["H"],
            "H, one radius": directions * radii.median(),
        }
        scored = {
            name: scores(x, labels, model.spaces[name[0]], ks=(1,), queries=queries) for name, x in embeddings.items()
        }
        loss = model.hparams["loss"]
        of_cosines = isinstance(loss, dict) and loss["init_args"].get("distance") == "cosine"
        main = "H" if model.hparams["eta_h"] > 0 else "E, cosine" if of_cosines else "E"
        result = {"Recall@1": scored[main]["Recall@1"]}
        result |= {f"{name}, {score}": row[score] for name, row in scored.items() for score in ("Recall@1", "MAP@R")}
        result |= {f"radius, {name}": value for name, value in radius_spread(found["radius"], model.head.clip).items()}
        if model.hparams["learn_c"]:
            result["c"] = model.space.curvature
        if part == "test":
            result["radius ~ ambiguity"] = correlation(found["radius"], ambiguity(found["E"], labels))
        return result

    def radii_and_sizes(self, model: CHEST) -> tuple[Tensor, Tensor]:
        """Of each training image its radius, and how many images its class has."""
        labels = torch.from_numpy(self.data.train.labels)
        return self.outputs(model, "train")["radius"].cpu(), torch.bincount(labels)[labels]

    @torch.no_grad()
    def outputs(self, model: CHEST, part: Part) -> dict[str, Tensor]:
        model.eval()
        parts = [model.outputs(self.maps.features(model, maps)) for maps in self.maps.whole(part).split(256)]
        model.train()
        return {name: torch.cat([some[name] for some in parts]).float() for name in parts[0]}

    @torch.no_grad()
    def _start_proxies(self, model: CHEST) -> None:
        model.eval()
        features = torch.cat([self.maps.features(model, maps) for maps in self.maps.whole("train").split(256)])
        torch.manual_seed(model.hparams["seed"])
        start_proxies(
            model.loss, model.head, features.float(), torch.from_numpy(self.data.train.labels).to(self.device)
        )
        model.train()


def model_settings(settings: Settings) -> dict[str, Any]:
    """The settings of a candidate as arguments of the model: those called loss_NAME go to the loss itself.

    >>> model_settings({"lr": 0.1, "loss": "triplet", "loss_margin": 0.2})["loss"]["init_args"]
    {'margin': 0.2}
    """
    known = CHEST.arguments()
    of_loss = {name.removeprefix("loss_"): value for name, value in settings.items() if name not in known}
    found: dict[str, Any] = {name: value for name, value in settings.items() if name in known}
    if of_loss:
        spec = NAMED.get(found["loss"], {"class_path": found["loss"]})
        found["loss"] = {**spec, "init_args": {**spec.get("init_args", {}), **of_loss}}
    return found
