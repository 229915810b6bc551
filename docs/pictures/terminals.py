"""Pictures of the commands in a terminal."""

from __future__ import annotations

import shutil

from scratch_home import ROOT, ScratchHome


def draw_terminals(home: ScratchHome) -> None:
    """Train models in a home, and take pictures of the commands on the way."""
    home.picture("terminal-train", "--config iris")
    home.picture("terminal-refused", "--config variation_svm.yaml")
    home.picture("terminal-tuning", "--config configs/iris/tuning.yaml --set search.trials=10")
    home.picture("terminal-compare", "compare --model iris", columns=120)
    home.run('promote 2 --model iris --reason "a trial"')
    home.run('rollback --model iris --reason "complaints from the field"')
    home.picture("terminal-status", "status --model iris")
    home.picture("terminal-history", "history --model iris", columns=120)
    _draw_files(home)


def _draw_files(home: ScratchHome) -> None:
    """Take pictures of the commands on files: a first config, and predictions."""
    from sklearn.datasets import load_iris, load_wine

    wine, flowers = home.folder / "vineyard.csv", home.folder / "flowers.csv"
    load_wine(as_frame=True).frame.rename(columns={"target": "cultivar"}).to_csv(wine, index=False)
    table = load_iris(as_frame=True).data
    table.columns = [f"{part}_{side}" for part in ("sepal", "petal") for side in ("length", "width")]
    table.to_csv(flowers, index=False)
    try:
        home.picture("terminal-init", f"init {wine} --target cultivar")
    finally:
        shutil.rmtree(ROOT / "configs/vineyard", ignore_errors=True)
    home.picture("terminal-predict", f"predict {flowers} --model iris")


def draw_report(home: ScratchHome) -> None:
    """Send drifting rows to a service, and take pictures of the simulation and the report on them."""
    with home.serving():
        home.run("simulate --set drift=[] --set stream.rows=300 --set stream.rate=60 --set labels.delay=1")
        home.run("report --model iris --set window=300")
        home.picture("terminal-simulation", "simulate --set stream.rows=900 --set stream.rate=60 --set labels.delay=1")
    home.picture("terminal-report", "report --model iris --set window=500")
    # The windows are judged, and no run begins for so few labels.
    once = "watch --config continuous_training.yaml --once --set triggers.minimum_labels=5000"
    home.picture("terminal-watch", f"{once} --set triggers.drift.window=200")


def draw_figure_of_comparison(home: ScratchHome) -> None:
    """Train the fraud configs of the README, and take the figure of their comparison."""
    for config in ("baseline", "variation_random_forest", "variation_gradient_boosting", "tuning"):
        home.run(f"--config configs/fraud/{config}.yaml")
    home.run(f"compare --model fraud --output {home.folder}/comparison")
    shutil.copy(home.folder / "comparison/comparison.png", home.images / "comparison.png")
