# make demo   environment, packaged images, then CHEST trained on them: table and report
# make demo-taxonomy   environment, the mammals of WordNet embedded in hyperbolic space: table and report
# make test   environment, then the whole suite
# make docs   the site, into site/, which opens from the disk; a warning is an error
# make gpu    on a machine with a GPU: accuracy, speed, training; writes docs/reports/gpu.md in at most 8 minutes
# make study  the study of CHEST in docs/reports/study.md: hours; goes on where it was
# make study-hierarchies   that of class hierarchies in docs/reports/study-hierarchies.md: an hour of one core; goes on where it was
# make study-views   what colours, normals and attention are worth on the furniture, in docs/reports/shape3d.md: ten minutes
# make study-taxonomy   that of the mammals in docs/reports/taxonomy.md: an hour of one core; goes on where it was
PYTHON ?=
SETUP = .ci/setup .ci/constraints.txt pyproject.toml
RUN = .venv/bin/python -m

.PHONY: demo demo-taxonomy test test-deep check bench docs gpu study study-hierarchies study-views study-taxonomy clean
demo: .venv/.apps
	$(RUN) apps.chest_vit fit --config apps/chest_vit/configs/emoji.yaml

demo-taxonomy: .venv/.apps
	$(RUN) apps.taxonomy fit --config apps/taxonomy/configs/mammals.yaml

# files side by side, one thread each: as fast as two cores allow, and no slower on more
test: check
	OMP_NUM_THREADS=1 $(RUN) pytest -n logical --maxprocesses 4 --dist loadfile

test-deep: .venv/.dev
	HYPOTHESIS_PROFILE=deep $(RUN) pytest tests/geomdml

check: .venv/.dev
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy

.venv/.apps: $(SETUP)
	@PYTHON="$(PYTHON)" .ci/setup apps

.venv/.dev: $(SETUP)
	@PYTHON="$(PYTHON)" .ci/setup dev

bench: .venv/.dev
	$(RUN) benchmarks.distances
	$(RUN) benchmarks.laws
	$(RUN) benchmarks.law_radii
	$(RUN) benchmarks.transport
	$(RUN) benchmarks.points
	$(RUN) benchmarks.emphasis
	$(RUN) benchmarks.losses
	$(RUN) benchmarks.render
	$(RUN) benchmarks.retrieval
	$(RUN) benchmarks.index
	$(RUN) benchmarks.taxonomy
	$(RUN) benchmarks.loading

docs: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict

gpu: .venv/.dev
	$(RUN) benchmarks.gpu

study: .venv/.apps
	$(RUN) apps.chest_vit sweep --config apps/chest_vit/configs/prestudy.yaml --folder runs/study/sweep
	$(RUN) apps.chest_vit ablate --config apps/chest_vit/configs/study.yaml --folder runs/study/ablation
	$(RUN) apps.chest_vit ablate --config apps/chest_vit/configs/study.yaml --data.benchmark furniture --folder runs/study/furniture \
		--candidates "['H', 'E', 'H + E', 'H + E, flat']"
	$(RUN) apps.chest_vit compare --config apps/chest_vit/configs/study.yaml --folder runs/study/rivals --trainer.max_epochs 10

study-hierarchies: .venv/.apps
	OMP_NUM_THREADS=1 $(RUN) apps.chest_vit.studies.hierarchies --folder runs/study-hierarchies

study-views: .venv/.apps
	OMP_NUM_THREADS=1 $(RUN) apps.shape3d.studies.views --folder runs/study-views

study-taxonomy: .venv/.apps
	$(RUN) apps.taxonomy compare --config apps/taxonomy/configs/study.yaml --folder runs/study-taxonomy/compare
	$(RUN) apps.taxonomy sweep --config apps/taxonomy/configs/study.yaml --folder runs/study-taxonomy/sweep

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dist site
