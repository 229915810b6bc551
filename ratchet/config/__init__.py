"""Configs: what a run does, section by section."""

from ratchet.config.datasets import (
    CsvDataset,
    Dataset,
    GeneratedDataset,
    HttpDataset,
    NabDataset,
    OpenmlDataset,
    ParquetDataset,
    Place,
    SklearnDataset,
    SqlDataset,
    Timestamp,
    TsvDataset,
)
from ratchet.config.embed import AnyEmbed, Embed, ImageEmbed, RatingsEmbed, SeriesEmbed, TextEmbed
from ratchet.config.rows import BaseDataset, Column, Costs, Window
from ratchet.config.section import Section
from ratchet.config.tasks import CLASSIFICATION_METRICS, LABELLED, LOSSES, METRICS, REGRESSION_METRICS, TaskName
from ratchet.config.training import Drift, Evaluate, Feedback, Promote, Split, Train, TrainingConfig, config_hash

__all__ = [
    "CLASSIFICATION_METRICS",
    "LABELLED",
    "LOSSES",
    "METRICS",
    "REGRESSION_METRICS",
    "AnyEmbed",
    "BaseDataset",
    "Column",
    "Costs",
    "CsvDataset",
    "Dataset",
    "Drift",
    "Embed",
    "Evaluate",
    "Feedback",
    "GeneratedDataset",
    "HttpDataset",
    "ImageEmbed",
    "NabDataset",
    "OpenmlDataset",
    "ParquetDataset",
    "Place",
    "Promote",
    "RatingsEmbed",
    "Section",
    "SeriesEmbed",
    "SklearnDataset",
    "Split",
    "SqlDataset",
    "TaskName",
    "TextEmbed",
    "Timestamp",
    "Train",
    "TrainingConfig",
    "TsvDataset",
    "Window",
    "config_hash",
]
