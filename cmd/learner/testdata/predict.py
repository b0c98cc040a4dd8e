"""Answers for rows with a model of kind logistic or mix, from the tensors of a checkpoint that learner export wrote.

    python predict.py CHECKPOINT.safetensors MODEL < rows.csv

Rows have the features alone, in the order in which the model learned them. It prints the probability of class 1 of each.
"""

import json
import sys

import numpy as np
from safetensors import safe_open

EXPERTS = ["newton", "newton_fast", "diag", "diag_fast", "diag_still"]  # of mix, in the order of the mixer's weights


def sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def standardised(tensor, x):
    """Returns 1, z_1 … z_d: what the models learn from."""
    with np.errstate(all="ignore"):  # columns that have had one value only have no scale and no deviation: they are 0
        t = (x - tensor("scaler/shift")) * tensor("scaler/scale") * tensor("scaler/scale2")
        t = np.clip(np.nan_to_num(t, nan=0), -1e150, 1e150)
        distance, deviation = t - tensor("scaler/mean"), np.sqrt(tensor("scaler/variance"))
        z = np.clip(distance / deviation, -5, 5)
    reach, far = tensor("scaler/reach"), np.abs(distance)
    fault = (far > 1000 * reach) & (far > 1000 * deviation) & (reach > 0)
    twin = (tensor("scaler/twin") >= 0) & (np.arange(x.shape[1]) > 0)
    z = np.where(fault | twin | (deviation == 0), 0, z)
    return np.hstack([np.ones((len(x), 1)), z])


def logistic(tensor, x):
    return sigmoid(standardised(tensor, x) @ tensor("weights"))


def mix(tensor, x):
    z = standardised(tensor, x)
    experts = np.clip(np.stack([z @ tensor(name + "/weights") for name in EXPERTS], axis=1), -5, 5)
    mixed = tensor("mixer/weights")[0] + experts @ tensor("mixer/weights")[1:]
    bent = np.stack([np.clip(mixed, -limit, limit) for limit in (8, 1, 2)], axis=1)
    calibrated = bent @ tensor("calibrator/weights")
    return sigmoid(np.column_stack([calibrated, mixed, experts])) @ tensor("layer/weights")


path, model = sys.argv[1:]
with safe_open(path, framework="np") as file:
    kinds = {m["name"]: m["kind"] for m in json.loads(file.metadata()["models"])}
    answer = {"logistic": logistic, "mix": mix}[kinds[model]]
    for p in answer(lambda name: file.get_tensor(model + "/" + name), np.loadtxt(sys.stdin, delimiter=",", ndmin=2)):
        print(p)
