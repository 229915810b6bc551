"""The usual way: pandas reads the file, scikit-learn splits it and fits."""

from __future__ import annotations

import sys
import time

import pandas as pd
from side import TARGET, report
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

begun = time.perf_counter()
train, _ = train_test_split(pd.read_parquet(sys.argv[1]), test_size=0.2, random_state=42)
embedder = make_pipeline(SimpleImputer(), StandardScaler(), PCA()).fit(train.drop(columns=TARGET))
report(begun, embedder[1].mean_.tolist())
