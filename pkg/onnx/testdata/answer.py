"""Prints, for each MODEL.onnx of a folder, what ONNX Runtime answers for the rows of MODEL.rows, as JSON.

A file of rows holds float64 numbers, row by row, and MODEL.sparse, where it is there, those of the second input. The answers
are the probabilities of class 1 and the labels.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime

answers = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(path)
    files = {"features": ".rows", "sparse": ".sparse"}
    inputs = {i.name: np.fromfile(path.with_suffix(files[i.name])).reshape(-1, i.shape[1]) for i in session.get_inputs()}
    assert ("sparse" in inputs) == path.with_suffix(".sparse").exists()
    x = inputs["features"]
    probabilities, label = session.run(["probabilities", "label"], inputs)
    assert probabilities.dtype == np.float64 and probabilities.shape == (len(x), 2)
    assert label.dtype == np.int64 and label.shape == (len(x),)
    assert np.abs(probabilities.sum(axis=1) - 1).max() < 1e-12
    one = session.run(["probabilities"], {name: values[:1] for name, values in inputs.items()})[0]
    assert np.abs(one - probabilities[:1]).max() < 1e-12
    answers[path.stem] = {
        "probabilities": probabilities[:, 1].tolist(),
        "labels": label.tolist(),
        "metadata": session.get_modelmeta().custom_metadata_map,
    }
print(json.dumps(answers))
