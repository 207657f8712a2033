"""The configs of the benchmarks have the paper's numbers, make a model, and run; the options of a large model work."""

import json
from pathlib import Path

import pytest
import torch

from apps.chest_vit import model
from apps.chest_vit.__main__ import main
from apps.chest_vit.data import RetrievalData
from apps.chest_vit.model import CHEST
from apps.chest_vit.results import Results
from apps.cli import AppCLI
from apps.datasets.registry import BENCHMARKS
from apps.evaluation.scores import scores

FOLDER = Path(__file__).parents[3] / "apps/chest_vit/configs/benchmarks"
SMALL = {"backbone": "test_vit", "weights": "none", "backbone_args": {"img_size": 32}, "dim": 16}
TABLE_1 = {  # batch, steps, learning rate, that of proxies, K, triplets, margins in H and E, recall
    "cub": (200, 120, 3e-5, 1e-2, 10, 100, 20, 1, [1, 2, 4, 8]),
    "cars": (198, 1_800, 1e-5, 1e-2, 10, 98, 1, 5, [1, 2, 4, 8]),
    "inshop": (100, 30_000, 1e-5, 1e-1, 2, 3_997, 10, 5, [1, 10, 20]),
    "sop": (75, 50_000, 1e-5, 1e-1, 2, 11_318, 1, 5, [1, 10, 100]),
}
BACKBONES = {  # name, features, dimension of the embedding
    ("vit_s16.yaml",): ("vit_small_patch16_224.augreg_in21k", 384, 384),
    ("vit_s16.yaml", "vit_b16.yaml"): ("vit_base_patch16_224.augreg_in21k", 768, 512),
}


class Parsed(AppCLI):
    """A command line that is read and not acted on."""

    def instantiate_classes(self) -> None:
        pass


def parsed(*configs: str):
    arguments = [argument for name in configs for argument in ("--config", str(FOLDER / name))]
    return Parsed(
        CHEST,
        RetrievalData,
        results=Results(),
        run=False,
        args=arguments,
    ).config


@pytest.mark.filterwarnings("ignore")  # Lightning's, of its own parser
@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda configs: configs[-1])
@pytest.mark.parametrize("name", TABLE_1)
def test_a_config_has_the_papers_numbers_and_makes_its_model(name, backbone):
    first, *rest = backbone
    config = parsed(first, f"{name}.yaml", *rest)
    data, options = config.data.as_dict(), config.model.as_dict()
    batch, steps, lr, proxy_lr, centers, triplets, margin_h, margin_e, ks = TABLE_1[name]
    assert data["classes_per_batch"] * data["per_class"] == batch
    assert data["steps"] * config.trainer.max_epochs == steps
    assert (data["benchmark"], list(data["ks"]), data["validation"]) == (name, ks, 0)
    assert data["classes_per_batch"] <= BENCHMARKS[name].PUBLISHED["train"].classes == triplets
    assert (options["lr"], options["head_lr"], options["proxy_lr"]) == (lr, lr, proxy_lr)
    assert (options["margin_h"], options["margin_e"], options["triplets"]) == (margin_h, margin_e, triplets)
    shared = {
        "c": 0.5,
        "clip": 2.3,
        "tau": 0.5,
        "gamma_hyp": 1,
        "norm": "none",
        "relative": False,
        "loss": "soft_triple",
    }
    shared |= {f"{key}_{half}": value for half in "he" for key, value in (("gamma", 5), ("scale", 20), ("eta", 1))}
    assert shared == {key: options[key] for key in shared}
    assert (data["size"], data["centre_crop"], data["flip"], data["jitter"]) == (224, 224 / 256, True, 0)

    timm_name, features, dim = BACKBONES[backbone]
    assert (options["backbone"], options["weights"], options["dim"]) == (timm_name, "timm", dim)
    RetrievalData(**data | {"root": "nowhere"})
    with torch.device("meta"):  # its layers, without their numbers
        network = CHEST(**options | {"num_classes": triplets, "weights": "none"})
    assert network.loss.proxies.vectors.shape == (triplets, centers, features)
    assert network.head.linear.weight.shape == (dim, features)
    assert len(network.backbone.blocks) == 12 and network.backbone.patch_embed.patch_size == (16, 16)


@pytest.mark.filterwarnings("ignore")  # Lightning's, of its own parser
def test_a_loss_by_class_comes_through_a_config(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "model:\n  loss: triplet\n  tau: 0\n  loss_e:\n    class_path: geomdml.losses.SoftTripleLoss\n"
        "    init_args: {centers_per_class: 3, margin: 0.2}\n"
    )
    options = parsed("vit_s16.yaml", str(tmp_path / "mine.yaml")).model.as_dict()
    loss = CHEST(**options | SMALL | {"num_classes": 5}).loss
    assert loss.euclidean.proxies.vectors.shape == (5, 3, 64) and loss.euclidean.margin == 0.2
    assert loss.hyperbolic.margin == 0.1 and loss.proxies is None


TINY = (
    *("--config", str(FOLDER / "vit_s16.yaml"), "--config", str(FOLDER / "inshop.yaml")),
    *("--model.backbone", "test_vit", "--model.weights", "none", "--model.backbone_args", '{"img_size": 32}'),
    *("--data.size", "32", "--data.workers", "0", "--data.steps", "2", "--trainer.max_epochs", "1"),
    *("--data.classes_per_batch", "3", "--model.triplets", "6", "--model.dim", "16"),
)


@pytest.fixture(scope="module")
def clothes(layouts, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("inshop")
    layouts["inshop"](root)
    return root


@pytest.mark.filterwarnings("ignore")  # Lightning's; a user's process shows or hides them by its own rules
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--trainer.precision", "bf16-mixed", "--model.grad_checkpointing", "true", "--model.loss_h", "triplet"),
        ("--model.loss", "proxy_anchor", "--model.regulariser", "hier", "--data.validation", "0.4"),
    ],
)
def test_a_benchmark_runs_through(clothes, tmp_path, monkeypatch, capsys, options):
    monkeypatch.chdir(tmp_path)
    protocols = []
    monkeypatch.setattr(model, "scores", lambda *args, **how: protocols.append(how) or scores(*args, **how))
    main(["fit", *TINY, "--data.root", str(clothes), *options])
    output, run = capsys.readouterr().out, tmp_path / "runs/version_0"
    results = json.loads((run / "results.json").read_text())
    assert list(results["scores"]["H"]) == ["Recall@1", "Recall@10", "Recall@20", "MAP@R", "R-precision"]
    assert all(0 <= score <= 100 for row in results["scores"].values() for score in row.values())
    assert results["scores"]["raw pixels"]["Recall@1"] == 100  # a colour a class
    assert results["facts"]["protocol"] == "each query in the gallery" and "query 10, gallery 5" in output
    best = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert best["global_step"] == 2
    leave_one_out, in_gallery = ({"ks": (1, 10, 20), "queries": queries} for queries in (None, 10))
    assert [dict(how, ks=tuple(how["ks"])) for how in protocols] == (
        2 * [leave_one_out] * ("--data.validation" in options) + 2 * [in_gallery]
    )
    if options:
        assert "triplet" in results["facts"]["loss"] or "hier" in results["facts"]["loss"]


def test_checkpointing_and_bf16_leave_the_loss_as_it_is():
    images, labels = torch.randint(0, 255, (6, 3, 32, 32), dtype=torch.uint8), torch.arange(6) % 3
    found = {}
    for name, options in (("plain", {}), ("checkpointed", {"grad_checkpointing": True})):
        torch.manual_seed(0)
        network = CHEST(3, **SMALL, tau=0.0, **options)
        loss = network.loss(network.features(images), labels, head=network.head)
        loss.backward()
        found[name] = [loss.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]
    torch.testing.assert_close(found["plain"], found["checkpointed"])
    assert len(found["plain"]) > 10
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = network.eval()(images)
    assert {tensor.dtype for tensor in embeddings.values()} == {torch.float32}
    exact = network(images)
    assert (embeddings["E"] - exact["E"]).norm() < 0.05 * exact["E"].norm()


def test_a_backbone_without_checkpointing_says_so():
    with pytest.raises(ValueError, match="backbone 'inception_v3' has no gradient checkpointing: leave out"):
        CHEST(3, backbone="inception_v3", weights="none", grad_checkpointing=True)


def test_compiling_changes_no_name_in_the_checkpoint():
    plain, compiled = (CHEST(3, **SMALL, compile=flag) for flag in (False, True))
    assert compiled.backbone._compiled_call_impl is not None and plain.backbone._compiled_call_impl is None
    assert plain.state_dict().keys() == compiled.state_dict().keys()
