"""Families of metrics, made from samples."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from sedp.engine.histogram import HistogramSnapshot

NS = 1e9
DURATIONS = (1 << 13, 1 << 35, NS)  # 8 µs to 34 s; what lies outside shares the border buckets
ROWS = (1, 1 << 21, 1)

Values = tuple[str, ...]
Samples = Iterable[tuple[Values, float]]


def values(*names: str) -> Values:
    """Values of labels."""
    return names


def gauge(name: str, text: str, labels: Values, samples: Samples) -> Metric:
    """A level; the name is put behind `sedp_`."""
    return _filled(GaugeMetricFamily(f"sedp_{name}", text, labels=labels), samples)


def counter(name: str, text: str, labels: Values, samples: Samples) -> Metric:
    """A count; the library adds `_total` to the name."""
    return _filled(CounterMetricFamily(f"sedp_{name}", text, labels=labels), samples)


def _filled(family: Metric, samples: Samples) -> Metric:
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def histogram(
    name: str,
    text: str,
    labels: Values,
    samples: Iterable[tuple[Values, HistogramSnapshot]],
    limits: tuple[int, int, float],
) -> Metric:
    """One bucket an octave between the first two of `limits`, in units of the third."""
    lowest, highest, unit = limits
    family = HistogramMetricFamily(f"sedp_{name}", text, labels=labels)
    for of, snapshot in samples:
        octaves = snapshot.octaves()
        buckets: list[tuple[str, int]] = []
        seen = 0  # buckets are cumulative in Prometheus
        for bound, count in zip(octaves.bounds, octaves.counts, strict=False):
            seen += count
            if lowest <= bound + 1 <= highest:
                buckets.append((floatToGoString(bound / unit), seen))
        buckets.append(("+Inf", octaves.count))
        family.add_metric(of, buckets, sum_value=octaves.total / unit)
    return family
