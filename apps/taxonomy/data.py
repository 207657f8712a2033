"""Pairs of nodes and ancestors with negatives, a batch a function of (seed, epoch, step)."""

import inspect
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from apps.datasets.registry import load_taxonomy
from apps.datasets.taxonomies.taxonomy import Mending, Taxonomy
from apps.datasets.taxonomies.wordnet import Part
from apps.taxonomy.negatives import Negatives
from apps.taxonomy.relatives import Relatives
from apps.training.loading import TrainingLoader
from apps.training.sampling import Shuffled, seed_of


class TaxonomyData(L.LightningDataModule):
    """A taxonomy: WordNet by default, else a list of edges, a tree of folders, Newick or an ontology.

    Args:
        root: CSV, TSV or Parquet with columns child and parent; .nwk; .obo or .owl; a folder, whose folders are the
            nodes, or with WordNet's files. None is the packaged WordNet 3.0.
        part: "nouns" or "verbs" of WordNet.
        root_synset: take this node and what is below it, such as mammal.n.01; None takes all.
        cycles: "refuse", or "cut" the edges that close one.
        duplicates: "merge" or "refuse" edges that come twice.
        unknown_parents: "refuse", "add" or "drop" parents that the source does not declare.
        several_roots: "keep", "refuse", or "join" them under a new one.
        batch_size: Pairs a step.
        negatives: Nodes that are no ancestors, drawn for each pair.
        power: Negatives are drawn by degree to this power: 0 is uniformly, 1 by degree.
        relatives: Share of them that is drawn from the nodes below the node's ancestors instead.
        held_out: Share of the pairs (node, ancestor) that training does not see and a test asks for. Each node keeps
            one.
        steps: Steps an epoch.
        validated: Nodes whose ancestors are looked for at a validation.
        split_seed: Seed of the choice of the pairs that are held out.
        seed: Seed of the batches.
    """

    def __init__(
        self,
        root: str | None = None,
        part: Part = "nouns",
        root_synset: str | None = None,
        cycles: Literal["refuse", "cut"] = "refuse",
        duplicates: Literal["refuse", "merge"] = "merge",
        unknown_parents: Literal["refuse", "add", "drop"] = "refuse",
        several_roots: Literal["refuse", "keep", "join"] = "keep",
        batch_size: int = 512,
        negatives: int = 50,
        power: float = 0.75,
        relatives: float = 0.5,
        held_out: float = 0.0,
        steps: int = 250,
        validated: int = 500,
        split_seed: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        sizes = {"batch_size": batch_size, "negatives": negatives, "steps": steps, "validated": validated}
        for option, value in sizes.items():
            if value < 1:
                raise ValueError(f"--data.{option} = {value}; expected at least 1")
        if not 0 <= power <= 2:
            raise ValueError(f"--data.power = {power}; expected 0 (uniform) to 2")
        if not 0 <= relatives <= 1:
            raise ValueError(f"--data.relatives = {relatives}; expected a share, 0 to 1")
        if not 0 <= held_out < 1:
            raise ValueError(f"--data.held_out = {held_out}; expected a share, 0 to below 1")

    @cached_property
    def taxonomy(self) -> Taxonomy:
        h = self.hparams
        mending = Mending(**{name: h[name] for name in Mending._fields})
        whole = load_taxonomy(h["root"], h["part"], mending)
        if h["root_synset"] is None:
            return whole
        try:
            return whole.subtree(h["root_synset"])
        except ValueError as error:
            raise ValueError(f"--data.root_synset: {error}; null takes the whole taxonomy") from error

    def varied(self, **options: Any) -> "TaxonomyData":
        """The same taxonomy with some other options, of the pairs and the batches."""
        given = {name: self.hparams[name] for name in inspect.signature(TaxonomyData).parameters}
        other = TaxonomyData(**given | options)
        other.__dict__["taxonomy"] = self.taxonomy  # where cached_property keeps it
        return other

    @cached_property
    def _split(self) -> tuple[Tensor, Tensor]:
        """The pairs (node, ancestor) that training sees, and those held out."""
        pairs, share = self.taxonomy.ancestors, self.hparams["held_out"]
        if not share:
            return pairs, pairs[:0]
        order = np.random.default_rng(seed_of(self.hparams["split_seed"], 0, 0)).permutation(len(pairs))
        _, kept = np.unique(pairs[:, 0].numpy()[order], return_index=True)  # the first pair of each node in this order
        others = np.delete(order, kept)
        held_out = torch.zeros(len(pairs), dtype=torch.bool)
        held_out[torch.from_numpy(others[: round(share * len(pairs))])] = True
        return pairs[~held_out], pairs[held_out]

    @property
    def known(self) -> Int64[Tensor, "P 2"]:
        """The pairs (node, ancestor) that training sees, sorted."""
        return self._split[0]

    @property
    def held_out(self) -> Int64[Tensor, "H 2"]:
        """Those that it does not see."""
        return self._split[1]

    @property
    def edges(self) -> Int64[Tensor, "E 2"]:
        """The edges that training knows: of the taxonomy, or where pairs are held out all that are left."""
        return self.known if self.hparams["held_out"] else self.taxonomy.edges

    @property
    def nodes(self) -> int:
        return len(self.taxonomy)

    def facts(self) -> dict[str, str]:
        """What a table of scores must say of its data."""
        t = self.taxonomy
        return {
            "data": t.title,
            "size": f"{len(t):,} nodes, {len(t.edges):,} edges, {len(t.ancestors):,} pairs of a node and an ancestor; "
            f"{len(t.roots):,} root{'s' * (len(t.roots) > 1)}, depth up to {int(t.depths.max())}",
            **({"held out": f"{len(self.held_out):,} of these pairs"} if len(self.held_out) else {}),
            **({"mended": "; ".join(t.notes)} if t.notes else {}),
        }

    def batches(self, seed: int, *, relatives: float | None = None) -> "PairBatches":
        """The batches of training, each a function of (seed, epoch, step); with this share of relatives instead."""
        h = self.hparams
        return PairBatches(
            self.known,
            self.nodes,
            title=self.taxonomy.title,
            size=h["batch_size"],
            negatives=h["negatives"],
            power=h["power"],
            relatives=h["relatives"] if relatives is None else relatives,
            steps=h["steps"],
            seed=seed,
        )

    def train_dataloader(self) -> DataLoader:
        return TrainingLoader(_AsTheyAre(), self.batches(self.hparams["seed"]), trainer=self.trainer)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(_One(self.sample), batch_size=None)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(_One(torch.arange(self.nodes)), batch_size=None)

    predict_dataloader = test_dataloader

    @cached_property
    def sample(self) -> Int64[Tensor, " n"]:
        """Nodes with ancestors, the same at every validation."""
        nodes = self.known[:, 0].unique()
        order = np.random.default_rng(0).permutation(len(nodes))[: self.hparams["validated"]]
        return nodes[torch.from_numpy(order)].sort().values


class PairBatches:
    """Batches of `size` rows (node, ancestor, negatives…); each pair comes once before any comes again.

    Raises:
        ValueError: there are no negatives for any node.
    """

    def __init__(
        self,
        ancestors: Int64[Tensor, "P 2"],
        nodes: int,
        *,
        title: str,
        size: int,
        negatives: int,
        power: float,
        steps: int,
        seed: int,
        relatives: float = 0.0,
    ) -> None:
        self.negatives = Negatives(ancestors, nodes, power=power)
        self.relatives, self.near = Relatives(ancestors, nodes), round(relatives * negatives)
        self.pairs = ancestors[torch.from_numpy(self.negatives.left > 0)[ancestors[:, 0]]]
        if not len(self.pairs):
            raise ValueError(f"{title} has no negatives, for all nodes are ancestors; expected a larger taxonomy")
        self.rows = Shuffled(len(self.pairs), size=min(size, len(self.pairs)), seed=seed)
        self.drawn, self.steps, self.seed = negatives, steps, seed
        self.epoch = self.first = 0

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch, and the step in it that comes first."""
        self.epoch, self.first = epoch, first

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Tensor]:
        return (self.batch(self.epoch, step) for step in range(self.first, self.steps))

    def batch(self, epoch: int, step: int) -> Int64[Tensor, "B N"]:
        """The rows of one step."""
        passes, place = divmod(epoch * self.steps + step, len(self.rows))
        pairs = self.pairs[self.rows.batch(passes, place)]
        rng = np.random.default_rng(seed_of(self.seed, epoch, step))
        drawn = self.negatives.draw(pairs[:, 0], self.drawn, rng)
        if self.near:
            drawn = drawn[:, torch.from_numpy(rng.permutation(self.drawn))]  # `draw` returns them sorted
            drawn[:, : self.near] = self.relatives.draw(pairs[:, 0], drawn[:, : self.near], rng)
        return torch.cat([pairs, drawn], 1)


class _AsTheyAre(Dataset):
    """Batches are drawn whole."""

    def __getitem__(self, batch: Tensor) -> Tensor:
        return batch


class _One(Dataset):
    """One batch, of all these nodes."""

    def __init__(self, nodes: Tensor) -> None:
        self.nodes = nodes

    def __len__(self) -> int:
        return 1

    def __getitem__(self, place: int) -> Tensor:
        return self.nodes
