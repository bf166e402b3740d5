"""Names in the demo's data folder: what the steps of the preparation leave for each other."""

from __future__ import annotations

from sedp.demo.download import WHEEL

WHEEL_FILE = f"download/{WHEEL}"
IMPRESSIONS_FILE = "impressions.npz"
MODEL_FILE = "model.npz"
REPORT_FILE = "training.json"
ONNX_FILE = "promo-rank.onnx"
STORE_FOLDER = "store/"
RECORDING_FILE = "recording.npz"
WIDE_RECORDING_FILE = "wide-recording.npz"
CUT_FILE = "promo-rank-cut.npz"
