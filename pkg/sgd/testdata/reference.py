"""Makes reference.json: an independent implementation of the kind "logistic", for the tests beside it.

    python3 reference.py ../../../internal/testdata/susy_10k_balanced.csv.gz > reference.json

Standard library only. It is written from the formulas in another form than the Go code: moments come from running
sums of values and squares, the losses from log1p of the margin, exponentials and logarithms from the C library.
All numbers are IEEE 754 doubles. Losses are log losses, in nats, each before its row is learned, limited to those of
probabilities in [1e-6, 1 - 1e-6]; "losses" are those of the first 20 rows, "loss" is the mean over all.
"""

import csv
import gzip
import json
import math
import sys


def sigmoid(m):
    return 1.0 / (1.0 + math.exp(-m)) if m >= 0 else math.exp(m) / (1.0 + math.exp(m))


def learn(rows, rate):
    width = len(rows[0][1])
    sums, squares = [0.0] * width, [0.0] * width
    w, b = [0.0] * width, 0.0
    losses, correct = [], 0
    for t, (y, x) in enumerate(rows, start=1):
        z = []
        for i, xi in enumerate(x):
            sums[i] += xi
            squares[i] += xi * xi
            mean = sums[i] / t
            variance = squares[i] / t - mean * mean
            if variance > 0:
                z.append(min(5.0, max(-5.0, (xi - mean) / math.sqrt(variance))))
            else:
                z.append(0.0)
        m = b + math.fsum(wi * zi for wi, zi in zip(w, z))
        m = min(30.0, max(-30.0, m))
        loss = math.log1p(math.exp(-abs(m))) + max(0.0, -m if y == 1 else m)
        losses.append(min(-math.log(1e-6), max(-math.log1p(-1e-6), loss)))
        p = sigmoid(m)
        correct += (p >= 0.5) == (y == 1)
        step = rate / math.sqrt(t) * (y - p)
        w = [wi + step * zi for wi, zi in zip(w, z)]
        b += step
    n = len(rows)
    mean = [s / n for s in sums]
    return {
        "rows": n,
        "rate": rate,
        "losses": losses[:20],
        "loss": math.fsum(losses) / n,
        "accuracy": correct / n,
        "weights": w,
        "bias": b,
        "mean": mean,
        "variance": [q / n - m * m for q, m in zip(squares, mean)],
    }


def main():
    with gzip.open(sys.argv[1], "rt", newline="") as f:
        rows = [(float(r[0]), [float(v) for v in r[1:]]) for r in csv.reader(f)]
    runs = [learn(rows[:200], 0.5), learn(rows[:200], 0.05), learn(rows, 0.5)]
    json.dump(runs, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
