"""The use cases whose data have to be fetched, on small data of our own in exactly the format of the original."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ratchet.config.files import load_config
from tests.conftest import ROOT
from tests.web_server import Site

CONFIGS = ROOT / "configs"


def housing(rows: int) -> bytes:
    """cal_housing.data: no header, six decimals, lines that end as on Windows; in a tar.gz."""
    draw = np.random.default_rng(0)
    income = draw.uniform(0.5, 15, rows)
    values = np.clip(40_000 * income + draw.normal(0, 30_000, rows), 14_999, 500_001)
    columns = [draw.uniform(-124, -114, rows), draw.uniform(32, 42, rows), draw.integers(1, 53, rows)]
    columns += [draw.integers(2, 9000, rows) for _ in range(4)] + [income, values]
    text = "".join(",".join(f"{value:f}" for value in row) + "\r\n" for row in zip(*columns, strict=True))
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, content in {"cal_housing.data": text, "cal_housing.domain": "longitude: continuous."}.items():
            info = tarfile.TarInfo(f"CaliforniaHousing/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    return held.getvalue()


def zipped(**members: str | bytes) -> bytes:
    """An archive with these members."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return held.getvalue()


def bikes(rows: int) -> bytes:
    """hour.csv beside day.csv and Readme.txt; the date and the hour in two columns, without some hours of the night."""
    hours = pd.date_range("2011-01-01", periods=rows + rows // 24, freq="h")
    times = hours.delete(np.flatnonzero(hours.hour == 4)[3::3])[:rows]
    draw = np.random.default_rng(0)
    casual = draw.integers(0, 30, rows)
    registered = (60 + 50 * np.sin(times.hour / 24 * 2 * np.pi) + draw.normal(0, 5, rows)).astype(int)
    frame = pd.DataFrame({"instant": np.arange(rows) + 1, "dteday": times.strftime("%Y-%m-%d"), "season": 1, "yr": 0})
    frame = frame.assign(mnth=times.month, hr=times.hour, holiday=0, weekday=(times.dayofweek + 1) % 7)
    frame = frame.assign(workingday=(times.dayofweek < 5).astype(int), weathersit=draw.integers(1, 4, rows))
    for name in ("temp", "atemp", "hum", "windspeed"):
        frame[name] = draw.uniform(0, 1, rows).round(2)
    frame = frame.assign(casual=casual, registered=registered, cnt=casual + registered)
    return zipped(**{"Readme.txt": "about", "day.csv": "instant\n1\n", "hour.csv": frame.to_csv(index=False)})


def sentiment(rows: int) -> bytes:
    """SST-2/train.tsv: a header, blanks before the tab, 0 and 1."""
    draw = np.random.default_rng(0)
    words = {1: ["moving", "a joy , truly", '"great'], 0: ["dull", "it 's a mess", "n't funny"]}
    about = [f"{first}{last}" for first in ("sea", "sun", "moon", "rain", "wind") for last in ("light", "song", "man")]
    lines = [f"{words[row % 2][row % 3]} {' '.join(draw.choice(about, 4))} film \t{row % 2}\n" for row in range(rows)]
    header = "sentence\tlabel\n"
    return zipped(**{"SST-2/": "", "SST-2/train.tsv": header + "".join(lines), "SST-2/dev.tsv": header + lines[0]})


def ratings(rows: int) -> bytes:
    """ml-100k/u.data: no header, tabs, seconds since 1970 last."""
    draw = np.random.default_rng(0)
    lines = [
        f"{draw.integers(1, 40)}\t{draw.integers(1, 60)}\t{draw.integers(1, 6)}\t{881250949 + row}\n"
        for row in range(rows)
    ]
    return zipped(**{"ml-100k/README": "about", "ml-100k/u.data": "".join(lines), "ml-100k/u.item": "1|Film"})


def temperatures(rows: int) -> bytes:
    """A row for each five minutes, with a blank between the date and the hour; one hour is there twice."""
    times = pd.date_range("2013-12-02 21:15:00", periods=rows - 12, freq="5min").strftime("%Y-%m-%d %H:%M:%S")
    times = times[:200].append(times[188:])
    return ("timestamp,value\n" + "".join(f"{time},{70 + at % 9}.25\n" for at, time in enumerate(times))).encode()


NAB_WINDOWS = {
    "realKnownCause/machine_temperature_system_failure.csv": [
        ["2013-12-03 10:00:00.000000", "2013-12-03 15:00:00.000000"],
        ["2013-12-04 17:00:00.000000", "2013-12-04 19:00:00.000000"],
    ],
    "realKnownCause/nyc_taxi.csv": [],
}
ARCHIVES: dict[str, Callable[[int], bytes]] = {
    "california_housing": housing,
    "bike_sharing": bikes,
    "sentiment": sentiment,
    "movie_ratings": ratings,
}
FETCHED = [*ARCHIVES, "machine_anomalies"]


def served(site: Site, config: Path, *more: str) -> Any:
    """A config whose URLs lead to the site, with the hashes of what is there, and more overrides."""
    case = config.parts[0]
    if case == "machine_anomalies":
        folder = "/realKnownCause"
        parts = {
            "values": (f"{folder}/machine_temperature_system_failure.csv", temperatures(600)),
            "labels": ("/labels/combined_windows.json", json.dumps(NAB_WINDOWS).encode()),
        }
        overrides = [
            f"dataset.{key}={{url: {site.put(path, body)}, sha256: {hashlib.sha256(body).hexdigest()}}}"
            for key, (path, body) in parts.items()
        ]
    else:
        body = ARCHIVES[case](600)
        sha = hashlib.sha256(body).hexdigest()
        overrides = [f"dataset.url={site.put(f'/{case}', body)}", f"dataset.sha256={sha}"]
    return load_config(CONFIGS / config, [*overrides, *more])
