"""The usual way with a CSV: pandas reads it, scikit-learn splits it and fits the same encoder on the training rows."""

from __future__ import annotations

import sys
import time

import pandas as pd
from side import TARGET, report
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

begun = time.perf_counter()
rows = pd.read_csv(sys.argv[1])
train, holdout = train_test_split(rows, test_size=0.2, random_state=42, stratify=rows[TARGET])
numbers = train.drop(columns=TARGET).select_dtypes("number").columns
categories = train.columns.difference([*numbers, TARGET])
encoder = ColumnTransformer(
    [
        ("number", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        ("category", OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories),
    ]
)
features = encoder.fit_transform(train.drop(columns=TARGET))
report(begun, encoder.named_transformers_["number"][1].mean_.tolist())
