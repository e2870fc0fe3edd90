"""Bundles: folders with a trained model that need neither its run nor its data.

A bundle holds the parameters in the safetensors format, the architecture, the preparation of new
data and statistics of the run's data, as JSON. Reading it executes no code.
"""

from rnnlab.bundle.bundle import Bundle, bundles_below, is_bundle, open_bundle
from rnnlab.bundle.description import Description, Sizes
from rnnlab.bundle.run_bundle import bundle_model, bundle_run
from rnnlab.bundle.writing import add_files, write_bundle

__all__ = [
    "Bundle",
    "Description",
    "Sizes",
    "add_files",
    "bundle_model",
    "bundle_run",
    "bundles_below",
    "is_bundle",
    "open_bundle",
    "write_bundle",
]
