"""Metadata of a served model, as of the Open Inference Protocol."""

from typing import Any

from rnnlab.serve.service import Service
from rnnlab.serve.versions import Version


def model_metadata(service: Service, version: Version) -> dict[str, Any]:
    """Returns inputs, outputs and limits of a model, for one of its versions."""
    interface, limits, versions = version.interface, service.limits, service.versions
    if interface.in_features is None:
        inputs = [{"name": "inputs", "datatype": "INT32", "shape": [-1, -1]}]
    else:
        shape = [-1, -1, interface.in_features]
        inputs = [{"name": "inputs", "datatype": "FP32", "shape": shape}]
    if interface.uses_gaps:
        inputs.append({"name": "gaps", "datatype": "FP32", "shape": [-1, -1]})
    shape = [-1, -1, interface.out_features]
    return {
        "name": versions.name,
        "versions": [each.number for each in versions.loaded],
        "platform": "rnnlab",
        "inputs": inputs,
        "outputs": [{"name": "outputs", "datatype": "FP32", "shape": shape}],
        "parameters": {
            "version": version.number,
            "digest": version.digest,
            "shares": versions.shares,
            "generates": interface.generates,
            "vocabulary": list(interface.vocabulary),
            "classes": list(interface.classes),
            "max_tokens": limits.max_tokens,
            "max_inputs": limits.max_inputs,
            **version.description,
        },
    }
