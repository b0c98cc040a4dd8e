"""Makes mlp_reference.json: an independent implementation of the kind "mlp", for the test beside it.

    python3 mlp_reference.py ../../../internal/testdata/susy_10k_balanced.csv.gz > mlp_reference.json

Needs numpy. It is written from the formulas in another form than the Go code: biases apart from the weight matrices, dense
matrix products and outer products, gradients of a whole batch at once, exponentials and logarithms from the C library. Only
the generator of the first weights is the same by need: SplitMix64 and the polar method, layer by layer, input by input, the
bias first.

The rows are not standardised: the network gets the file's values as they are. Row i has importance 1, or, where a run says
so, (i mod 4)/2, so that some rows count for nothing. "margins" holds the log-odds before each row was learned.
"""

import csv
import gzip
import json
import math
import sys

import numpy as np

ROWS = 300
MASK = (1 << 64) - 1


class SplitMix:
    def __init__(self, seed, part):
        self.state = seed
        for c in part.encode():
            self.state = self.next() ^ c

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def uniform(self):
        return (self.next() >> 11) * 2.0**-53

    def normal(self):
        while True:
            u, v = 2 * self.uniform() - 1, 2 * self.uniform() - 1
            s = u * u + v * v
            if 0 < s < 1:
                return u * math.sqrt(-2 * math.log(s) / s)


def first_weights(width, hidden, seed):
    layers = []
    for number, units in enumerate(hidden + [1]):
        r = SplitMix(seed, f"mlp layer {number}")
        scale = math.sqrt(2 / (width + 1))
        table = np.array([[r.normal() for _ in range(units)] for _ in range(width + 1)]).T * scale
        layers.append([table[:, 1:].copy(), table[:, 0].copy()])
        width = units
    for part in layers[-1]:
        part *= 0.1
    return layers


class AdaGrad:
    def __init__(self, rate):
        self.rate, self.sums = rate, {}

    def begin(self, amount):
        self.amount = amount

    def change(self, key, g):
        a = self.amount
        self.sums[key] = self.sums.get(key, 0) + a * g**2
        return self.rate * a * g / np.sqrt(self.sums[key] + 1e-8)


class Adam:
    def __init__(self, rate):
        self.rate, self.seen, self.m, self.s = rate, 0.0, {}, {}

    def begin(self, amount):
        self.amount = amount
        self.seen += amount

    def change(self, key, g):
        k1, k2 = 0.9**self.amount, 0.999**self.amount
        self.m[key] = k1 * self.m.get(key, 0) + (1 - k1) * g
        self.s[key] = k2 * self.s.get(key, 0) + (1 - k2) * g**2
        rate = self.amount * self.rate * math.sqrt(1 - 0.999**self.seen) / (1 - 0.9**self.seen)
        return rate * self.m[key] / (np.sqrt(self.s[key]) + 1e-8)


def forward(layers, x):
    """x: rows by columns. Returns what each layer gets, and the log-odds."""
    inputs = []
    for weights, bias in layers[:-1]:
        inputs.append(x)
        x = np.maximum(x @ weights.T + bias, 0)
    inputs.append(x)
    weights, bias = layers[-1]
    return inputs, (x @ weights.T + bias)[:, 0]


def gradients(layers, x, y, c):
    """Mean gradient of the log loss over the rows, weighted by importance."""
    inputs, margins = forward(layers, x)
    delta = ((1 / (1 + np.exp(-margins)) - y) * c / c.sum())[:, None]
    result = []
    for (weights, _), values in zip(reversed(layers), reversed(inputs)):
        result.append([delta.T @ values, delta.sum(axis=0)])
        delta = (delta @ weights) * (values > 0)
    return result[::-1]


def learn(x, y, c, hidden, optimizer, rate, batch, seed):
    layers = first_weights(x.shape[1], hidden, seed)
    rule = {"adagrad": AdaGrad, "adam": Adam}[optimizer](rate)
    margins, held = [], []
    for i in range(len(y)):
        margins.append(forward(layers, x[i : i + 1])[1][0])
        if c[i] > 0:
            held.append(i)
        if len(held) == batch:
            parts = gradients(layers, x[held], y[held], c[held])
            rule.begin(c[held].sum() / batch)
            for n, pair in enumerate(parts):
                for part, g in enumerate(pair):
                    layers[n][part] -= rule.change((n, part), g)
            held = []
    weights = [np.hstack([bias[:, None], w]).ravel() for w, bias in layers]
    return margins, np.concatenate(weights)


def main():
    with gzip.open(sys.argv[1], "rt", newline="") as f:
        table = np.array([[float(v) for v in row] for row, _ in zip(csv.reader(f), range(ROWS))])
    y, x = table[:, 0], table[:, 1:]
    runs = []
    for hidden, optimizer, rate, batch, weighted in [
        ([32, 16], "adagrad", 0.1, 1, False),
        ([8], "adagrad", 0.05, 7, True),
        ([6, 5, 4], "adagrad", 0.1, 1, True),
        ([7, 5], "adam", 0.01, 1, False),
        ([7, 5], "adam", 0.02, 16, True),
    ]:
        c = np.arange(ROWS) % 4 / 2 if weighted else np.ones(ROWS)
        margins, weights = learn(x, y, c, hidden, optimizer, rate, batch, seed=7)
        runs.append(
            {
                "hidden": "x".join(map(str, hidden)),
                "optimizer": optimizer,
                "rate": rate,
                "batch": batch,
                "weighted": weighted,
                "margins": margins[::10],
                "weights": list(weights[:: max(1, len(weights) // 100)]),
                "norm": float(np.sqrt((weights**2).sum())),
            }
        )
    json.dump(runs, sys.stdout, indent=0)
    print()


if __name__ == "__main__":
    main()
