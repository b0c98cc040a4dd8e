"""Makes reference.json: weights of the linear learners by an independent program, for the tests beside it.

    python3 reference.py ../../../internal/testdata/susy_10k_balanced.csv.gz > reference.json

Standard library only; it shares no code with the learners and is written from the papers' formulas, for reading. All
numbers are IEEE 754 doubles; exponentials, powers, and roots are the C library's, and the products of an inner product
are summed up without rounding.
Each entry has the model as the learners spell it, and its weights, the bias first, after the first 1,000 rows.
"""

import csv
import gzip
import json
import math
import statistics
import sys


def clip(v, limit):
    return max(-limit, min(limit, v))


class Plain:
    """Mean and variance (divisor n) of all values so far, from two passes over them."""

    def __init__(self):
        self.values = []

    def standardise(self, x):
        self.values.append(x)
        mean = math.fsum(self.values) / len(self.values)
        variance = math.fsum((v - mean) ** 2 for v in self.values) / len(self.values)
        return clip((x - mean) / math.sqrt(variance), 5) if variance > 0 else 0.0


class Robust:
    """Running moments that outliers cannot carry away; see robustScaler."""

    def __init__(self):
        self.shift = self.exponent = None
        self.kept = []
        self.n, self.mean, self.variance = 0, 0.0, 0.0

    def standardise(self, x):
        if self.shift is None:
            self.shift = x
        if self.exponent is None:
            if x == self.shift:
                return 0.0
            self.exponent = math.frexp(x - self.shift)[1]
        t = clip(math.ldexp(x - self.shift, -self.exponent), 1e150)
        self.n += 1
        d = t - self.mean
        if self.n > 64 and self.variance > 0:
            d = clip(d, 10 * math.sqrt(self.variance))
        share = 1 / min(self.n, 1000)
        self.mean += share * d
        self.variance = (1 - share) * (self.variance + share * d * d)
        if self.n <= 64:
            self.kept.append(t)
            if self.n in (8, 16, 32, 64):
                self.start_again()
        if self.variance == 0:
            return 0.0
        return clip((t - self.mean) / math.sqrt(self.variance), 5)

    def start_again(self):
        q, n = sorted(self.kept), self.n
        deviation = (q[n - 1 - n // 4] - q[n // 4]) / 1.349
        if deviation > 0:
            middle = statistics.median(q)
            limited = [middle + clip(v - middle, 10 * deviation) for v in q]
            self.mean = statistics.fmean(limited)
            self.variance = max(statistics.pvariance(limited), 0.01 * deviation**2)


def inner(a, b):
    return math.fsum(x * y for x, y in zip(a, b))


SCALERS = {"plain": Plain, "robust": Robust}


def standardised(rows, scaler):
    """Rows with a constant 1 in front, each value standardised by the moments that include it."""
    columns = [SCALERS[scaler]() for _ in rows[0][1]]
    return [(y, [1.0] + [c.standardise(v) for c, v in zip(columns, x)]) for y, x in rows]


# Derivatives by the margin f; y is -1 or +1.
GRADIENTS = {
    "hinge": lambda y, f: -y if y * f <= 1 else 0.0,
    "logistic": lambda y, f: -y / (1 + math.exp(y * f)),
    "modified_huber": lambda y, f: -4 * y if y * f < -1 else -2 * y * max(0.0, 1 - y * f),
    "squared": lambda y, f: f - y,
}


def shrunk(w, eta, l1, l2):
    """argmin over v of (v - w)²/2 + eta·(l1·|v| + l2·v²/2)."""
    return math.copysign(max(0.0, abs(w) - eta * l1), w) / (1 + eta * l2)


class SGD:
    def __init__(self, rate, l1, l2):
        self.rate, self.l1, self.l2, self.w = rate, l1, l2, 0.0

    def learn(self, g, t):
        eta = self.rate * t**-0.5
        self.w = shrunk(self.w - eta * g, eta, self.l1, self.l2)


class AdaGrad:
    def __init__(self, rate, l1, l2):
        self.rate, self.l1, self.l2, self.w = rate, l1, l2, 0.0
        self.squares = 0.0

    def learn(self, g, t):
        self.squares += g**2
        eta = self.rate * (self.squares + 1e-8) ** -0.5
        self.w = shrunk(self.w - eta * g, eta, self.l1, self.l2)


class Adam:
    def __init__(self, rate, l1, l2):
        self.rate, self.l1, self.l2, self.w = rate, l1, l2, 0.0
        self.m = self.v = 0.0

    def learn(self, g, t):
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g**2
        eta = self.rate * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) / (math.sqrt(self.v) + 1e-8)
        self.w = shrunk(self.w - eta * self.m, eta, self.l1, self.l2)


class FTRL:
    def __init__(self, rate, l1, l2):
        self.alpha, self.beta, self.l1, self.l2, self.w = rate, 1.0, l1, l2, 0.0
        self.z = self.n = 0.0

    def learn(self, g, t):
        sigma = (math.sqrt(self.n + g * g) - math.sqrt(self.n)) / self.alpha
        self.z += g - sigma * self.w
        self.n += g * g
        if abs(self.z) <= self.l1:
            self.w = 0.0
        else:
            short = self.z - math.copysign(self.l1, self.z)
            self.w = -short / ((self.beta + math.sqrt(self.n)) / self.alpha + self.l2)


class Coin:
    def __init__(self, wealth, l1, l2):
        self.wealth, self.l1, self.l2, self.w = wealth, l1, l2, 0.0
        self.largest = self.absolute = self.reward = self.sum = 0.0

    def learn(self, g, t):
        g += self.l2 * self.w
        self.largest = max(self.largest, abs(g))
        self.absolute += abs(g)
        self.reward = max(0.0, self.reward - g * self.w)
        self.sum -= g
        self.w = 0.0
        if self.largest > 0:
            theta = math.copysign(max(0.0, abs(self.sum) - t * self.l1), self.sum)
            wealth = self.wealth + self.reward / self.largest
            self.w = theta / (self.largest + self.absolute) * wealth


# Optimisers with the rate, or wealth, that they have by default. It is a fifth of it for losses whose gradient grows with the margin.
OPTIMIZERS = {
    "adagrad": (AdaGrad, 0.2),
    "adam": (Adam, 0.01),
    "coin": (Coin, 1),
    "ftrl": (FTRL, 0.5),
    "sgd": (SGD, 0.5),
}


def gradient_descent(rows, loss, optimizer, l1=0.0, l2=0.0):
    make, rate = OPTIMIZERS[optimizer]
    if loss in ("squared", "modified_huber"):
        rate /= 5
    places = [make(rate, 0.0, 0.0)] + [make(rate, l1, l2) for _ in rows[0][1][1:]]
    for t, (label, z) in enumerate(rows, start=1):
        margin = inner((p.w for p in places), z)
        g = GRADIENTS[loss](2 * label - 1, margin)
        for p, v in zip(places, z):
            p.learn(g * v, t)
    return [p.w for p in places]


def passive_aggressive(rows, c):
    w = [0.0] * len(rows[0][1])
    for label, z in rows:
        y = 2 * label - 1
        loss = max(0.0, 1 - y * inner(w, z))
        tau = min(c, loss / inner(z, z))
        w = [wi + tau * y * v for wi, v in zip(w, z)]
    return w


def main():
    with gzip.open(sys.argv[1], "rt", newline="") as f:
        rows = [(float(r[0]), [float(v) for v in r[1:]]) for r in csv.reader(f)][:1000]
    scaled = {name: standardised(rows, name) for name in SCALERS}
    runs = {}
    for optimizer in OPTIMIZERS:
        for loss in GRADIENTS:
            name = f"linear:loss={loss},optimizer={optimizer}"
            runs[name] = gradient_descent(scaled["robust"], loss, optimizer)
        l1 = 20 if optimizer == "ftrl" else 0.05
        name = f"logistic:optimizer={optimizer},l1={l1},l2=0.1"
        runs[name] = gradient_descent(scaled["robust"], "logistic", optimizer, l1, 0.1)
        name = f"logistic:optimizer={optimizer},scaler=plain"
        runs[name] = gradient_descent(scaled["plain"], "logistic", optimizer)
    runs["logistic"] = gradient_descent(scaled["robust"], "logistic", "sgd")
    runs["pa"] = passive_aggressive(scaled["robust"], 1.0)
    runs["pa:c=0.01,scaler=plain"] = passive_aggressive(scaled["plain"], 0.01)
    json.dump(runs, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
