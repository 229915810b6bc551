"""Pipelines run in this process, in the session's home; every test takes a model name of its own."""

from __future__ import annotations

from pathlib import Path

from pipelines.runner import RunOptions, RunSummary, run_training
from ratchet.config import TrainingConfig
from ratchet.config.files import load_config
from ratchet.settings import Settings

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def config_for(model: str, *overrides: str, name: str = "baseline") -> TrainingConfig:
    """A config of the repository with another model name and some values overridden."""
    return load_config(CONFIGS / f"{name}.yaml", [f"model={model}", *overrides])


def train_in(settings: Settings, config: TrainingConfig, *, cache: bool = True) -> RunSummary:
    """One run of the training pipeline."""
    return run_training(config, settings, RunOptions("test", cache))
