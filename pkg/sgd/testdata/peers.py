"""Makes peers.json: weights by River and Vowpal Wabbit where their algorithm is one of ours, for the tests beside it.

    python3 peers.py ../../../internal/testdata/susy_10k_balanced.csv.gz > peers.json

Made with River 0.26.1 and Vowpal Wabbit 9.11. Each entry has the model as the learners spell it, and its weights, the
bias first, after the first 1,000 rows. River's StandardScaler takes in a row before it scales it, as scaler=plain does;
its output is limited to ±5 here, and is what both learn from.

Conventions that differ, and how they are met:
- River moves the intercept by plain gradient descent whatever the optimizer: it is off, and a column of ones stands in.
- River and Vowpal Wabbit have (f - y)² for the squared loss, without ½: they get half the rate.
- River's FTRLProximal makes the weights from its sums when the next record is learned, and so predicts with those of a
  record ago. A step with a gradient of 0 in between changes no sum and makes the weights, as in the paper.
- Vowpal Wabbit's rate is rate·(initial_t/(initial_t + t))^power_t, with an initial_t that is not 0: a millionth here.
- Vowpal Wabbit keeps weights in single precision, and its AdaGrad multiplies by an approximate inverse root.

Left out, as another algorithm: Vowpal Wabbit's coin betting (it rescales features), and River's AdaGrad with the squared
loss (without the ½, the 1e-8 under the root counts for less). River has neither modified Huber nor coin betting.
"""

import csv
import gzip
import json
import sys

from river import linear_model, optim, preprocessing
from vowpalwabbit import Workspace


def scaled(rows):
    scaler = preprocessing.StandardScaler()
    for y, x in rows:
        scaler.learn_one(x)
        z = {i: max(-5.0, min(5.0, v)) for i, v in scaler.transform_one(x).items()}
        yield y, z


def river(rows, model, materialise=False):
    width = len(rows[0][1])

    def settle():
        if materialise:
            model.optimizer.step(model._weights, dict.fromkeys(range(-1, width), 0.0))

    for y, z in rows:
        settle()
        model.learn_one({-1: 1.0, **z}, y)
    settle()
    return [model.weights[i] for i in range(-1, width)]


def logistic(optimizer, loss=None):
    return linear_model.LogisticRegression(optimizer=optimizer, loss=loss, l2=0.0, intercept_lr=0.0)


def vowpal_wabbit(rows, options):
    vw = Workspace(f"--quiet --noconstant --bit_precision 8 {options}")
    width = len(rows[0][1])
    for y, z in rows:
        vw.learn(f"{2 * y - 1:d} | 0:1 " + " ".join(f"{i + 1}:{v:.17g}" for i, v in z.items() if v))
    weights = [vw.get_weight_from_name(str(i)) for i in range(width + 1)]
    vw.finish()
    return weights


def main():
    with gzip.open(sys.argv[1], "rt", newline="") as f:
        rows = [(float(r[0]) == 1, dict(enumerate(map(float, r[1:])))) for r in csv.reader(f)][:1000]
    rows = list(scaled(rows))
    signs = [(2 * y - 1, z) for y, z in rows]
    falling = optim.schedulers.InverseScaling
    by_river, by_vw = {}, {}
    for name, loss in ("logistic", None), ("hinge", optim.losses.Hinge()):
        spec = f"linear:scaler=plain,loss={name},optimizer="
        by_river[spec + "sgd"] = river(rows, logistic(optim.SGD(falling(0.5, 0.5)), loss))
        by_river[spec + "adagrad"] = river(rows, logistic(optim.AdaGrad(0.2), loss))
        by_river[spec + "adam"] = river(rows, logistic(optim.Adam(0.01), loss))
        by_river[spec + "ftrl"] = river(rows, logistic(optim.FTRLProximal(0.5, 1.0, 0.0, 0.0), loss), True)
        options = f"--loss_function {name} "
        by_vw[spec + "sgd"] = vowpal_wabbit(rows, options + "--sgd --learning_rate 500 --initial_t 1e-6 --power_t 0.5")
        by_vw[spec + "adagrad"] = vowpal_wabbit(rows, options + "--adaptive --learning_rate 0.2 --power_t 0.5")
        by_vw[spec + "ftrl"] = vowpal_wabbit(rows, options + "--ftrl --ftrl_alpha 0.5 --ftrl_beta 1")
    squared = linear_model.LinearRegression(optimizer=optim.SGD(falling(0.05, 0.5)), intercept_lr=0.0)
    by_river["linear:scaler=plain,loss=squared"] = river(signs, squared)
    options = "--loss_function squared --min_prediction -1000000 --max_prediction 1000000 "
    by_vw["linear:scaler=plain,loss=squared"] = vowpal_wabbit(rows, options + "--sgd --learning_rate 50 --initial_t 1e-6 --power_t 0.5")
    pa = linear_model.PAClassifier(C=1.0, mode=1, learn_intercept=False)
    by_river["pa:scaler=plain"] = river(rows, pa)
    json.dump({"river": by_river, "vowpal_wabbit": by_vw}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
