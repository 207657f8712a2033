"""Options, help and comparisons name the losses that the apps' tables have."""

import inspect
from typing import get_args

import pytest

import apps.chest_vit.losses
import apps.digits.experiment
import apps.networks.pair_losses
import apps.shape3d.experiment
import apps.shape3d.losses
import apps.sketch.experiment
import apps.sketch.losses
from apps.chest_vit.model import CHEST
from apps.chest_vit.studies.candidates import RIVALS
from apps.digits.model import Digits
from apps.shape3d.model import Shape3D
from apps.sketch.model import SketchToShape
from geomdml.spaces import Euclidean

TABLES = [apps.networks.pair_losses, apps.shape3d.losses, apps.sketch.losses]


@pytest.mark.parametrize("module", TABLES)
def test_the_names_of_the_type_are_those_of_the_table(module):
    assert set(get_args(module.Name)) == module.LOSSES.keys()


def test_the_table_of_the_docstring_describes_each_loss_of_pairs():
    rows = [line.split("|")[1].strip() for line in apps.networks.pair_losses.__doc__.splitlines() if line[:1] == "|"]
    assert rows[2:] == list(apps.networks.pair_losses.LOSSES)


@pytest.mark.parametrize(("model", "module"), list(zip([Digits, Shape3D, SketchToShape], TABLES, strict=True)))
def test_the_option_offers_what_the_table_has(model, module):
    assert inspect.signature(model).parameters["loss"].annotation == module.Name


@pytest.mark.parametrize(
    ("experiment", "module"),
    list(zip([apps.digits.experiment, apps.shape3d.experiment, apps.sketch.experiment], TABLES, strict=True)),
)
def test_candidates_are_losses_of_the_table(experiment, module):
    named = {loss for name, space in experiment.CANDIDATES.items() for loss in space.get("loss", [name])}
    assert named <= module.LOSSES.keys()


def test_the_help_of_chest_names_its_losses():
    text = " ".join(CHEST.__doc__.split())
    halves, regularisers = text.partition("loss_h:")[0], text.partition("regulariser:")[2]
    for name in ("soft_triple", *apps.chest_vit.losses.NAMED):
        assert name in (regularisers if name == "hier" else halves), name
    of_rivals = {loss for space in RIVALS.values() for loss in space.get("loss", [])}
    assert of_rivals <= {"soft_triple", *apps.chest_vit.losses.NAMED}


def test_an_unknown_loss_is_refused_with_the_names_that_there_are():
    for make in (
        lambda: apps.shape3d.losses.MetricLoss("tripplet", 2, 4, 4, space=Euclidean()),
        lambda: apps.sketch.losses.CrossModalLoss("tripplet", 2, 4, space=Euclidean()),
    ):
        with pytest.raises(ValueError, match=r"there is no loss 'tripplet'; expected one of .*transport"):
            make()
