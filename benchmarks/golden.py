"""Golden trajectories: the same bits before and after a change that should move no number.

    python benchmarks/golden.py --out before.json            # on the code as it was
    python benchmarks/golden.py --against before.json        # on the code as it is

Eight recipes, made up of what can go wrong on the way (dropout, batch norm, class weights, accumulation
with a short tail, EMA, clipping, one-cycle, an LSTM), are trained under every backend on one thread through
`xtrain run`. Kept are every loss as a float's hexadecimal digits, and the SHA-256 of the records, of each
tensor of the weights and of each of the optimizer's. What is kept holds for one machine and one set of
versions: a file from elsewhere is compared in vain.
"""

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import tomli_w
from safetensors.numpy import load_file

BACKENDS = ("numpy", "torch", "paddle", "mindspore")
_TIMES = ("train_seconds", "test_seconds", "val_seconds")


def conv(channels, **options):
    return {"op": "conv2d", "out_channels": channels, "kernel_size": 3, "padding": 1, **options}


BLOCK = {"op": "residual", "body": [conv(8, bias=False), {"op": "batch_norm2d"}, {"op": "relu"}]}
WEIGHTS = [0.3, 1.0, 1.7, 0.9, 2.3, 1.1, 0.7, 1.3, 0.6, 1.9]
DIGITS = {"name": "digits", "batch_size": 64}
OWN = {"name": "npz", "path": "images.npz", "batch_size": 32}
HEAD = [{"op": "flatten"}, {"op": "linear", "out_features": 10}]
EPOCHS = {"epochs": 2, "log_every": 1}

RECIPES = {
    "mlp_sgd": {
        "data": DIGITS,
        "model": {"name": "mlp", "hidden": [64, 32]},
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 1e-3},
        "schedule": {"name": "cosine", "by": "step", "warmup": {"length": 5}},
        "loop": EPOCHS,
    },
    "lenet_class_weights_accumulated": {  # 7 batches in groups of 3: a short group with a short batch
        "data": OWN,
        "model": {"name": "lenet"},
        "loss": {"name": "cross_entropy", "label_smoothing": 0.1, "class_weights": WEIGHTS},
        "optimizer": {"name": "adam", "lr": 2e-3, "weight_decay": 1e-3},
        "loop": EPOCHS | {"accumulate": 3},
    },
    "residual_batch_norm_one_cycle": {
        "data": OWN
        | {
            "augment": [
                {"op": "random_crop", "size": 32, "padding": 4},
                {"op": "random_horizontal_flip"},
            ],
            "drop_last": True,
        },
        "model": {
            "layers": [
                conv(8, bias=False),
                {"op": "batch_norm2d"},
                {"op": "relu"},
                {"op": "max_pool2d", "kernel_size": 2},
                BLOCK,
                {"op": "avg_pool2d", "kernel_size": 4},
                *HEAD,
            ]
        },
        "optimizer": {
            "name": "sgd",
            "lr": 0.1,
            "momentum": 0.9,
            "nesterov": True,
            "weight_decay": 5e-4,
            "decay_exclude": ["bias", "norm"],
            "clip_norm": 1.0,
            "l2": 1e-4,
        },
        "schedule": {"name": "one_cycle", "pct_start": 0.3},
        "loop": EPOCHS,
    },
    "dropout_ema_accumulated": {
        "data": DIGITS | {"batch_size": 100, "validation": {"fraction": 0.2, "balanced": True}},
        "model": {
            "layers": [
                conv(6),
                {"op": "relu"},
                {"op": "max_pool2d", "kernel_size": 2},
                {"op": "dropout", "p": 0.2},
                {"op": "flatten"},
                {"op": "linear", "out_features": 24},
                {"op": "relu"},
                {"op": "dropout", "p": 0.4},
                {"op": "linear", "out_features": 10},
            ]
        },
        "optimizer": {
            "name": "rmsprop",
            "lr": 1e-3,
            "momentum": 0.5,
            "centered": True,
            "ema": 0.9,
            "l1": 1e-5,
            "clip_value": 0.5,
        },
        "schedule": {"name": "step", "step_size": 1, "gamma": 0.5},
        "loop": EPOCHS | {"accumulate": 4},
    },
    "lstm_adamw_clipped": {
        "data": DIGITS,
        "model": {"name": "lstm", "hidden_size": 24, "num_layers": 2},
        "optimizer": {"name": "adamw", "lr": 5e-3, "clip_norm": 0.5, "decay_exclude": ["bias"]},
        "schedule": {"name": "one_cycle"},
        "loop": EPOCHS,
    },
    "nll_weighted_plateau": {
        "data": DIGITS | {"validation": {"fraction": 0.1}},
        "model": {"layers": [{"op": "flatten"}, {"op": "linear", "out_features": 10}, {"op": "log_softmax"}]},
        "loss": {"name": "nll", "class_weights": WEIGHTS},
        "optimizer": {"name": "adam", "lr": 0.05, "betas": [0.8, 0.99], "eps": 1e-6},
        "schedule": {"name": "plateau", "patience": 0, "factor": 0.5},
        "stopping": {"patience": 5, "restore_best": True},
        "loop": EPOCHS | {"epochs": 4},
    },
    "mse_sum_adagrad": {
        "data": DIGITS | {"batch_size": 50},
        "model": {"name": "simplecnn", "channels": [8], "padding": 1, "hidden": [16], "dropout": 0.3},
        "loss": {"name": "mse", "reduction": "sum"},
        "optimizer": {
            "name": "adagrad",
            "lr": 0.01,
            "lr_decay": 0.01,
            "weight_decay": 1e-3,
            "clip_norm": 5.0,
        },
        "loop": EPOCHS,
    },
    "sum_loss_accumulated_batch_norm": {
        "data": OWN | {"batch_size": 24},
        "model": {
            "layers": [
                conv(6),
                {"op": "max_pool2d", "kernel_size": 3, "stride": 2, "padding": 1},
                {"op": "batch_norm2d", "momentum": 0.3},
                {"op": "relu"},
                {"op": "adaptive_avg_pool2d", "output_size": 2},
                {"op": "dropout", "p": 0.1},
                *HEAD,
            ]
        },
        "loss": {"name": "cross_entropy", "reduction": "sum", "class_weights": WEIGHTS},
        "optimizer": {"name": "sgd", "lr": 1e-3, "momentum": 0.9, "ema": 0.99},
        "loop": EPOCHS | {"accumulate": 2},
    },
}


def write_images(path):
    """200 and 60 images [3, 32, 32] of words that NumPy promises to keep."""
    words = np.random.Philox(key=np.array([7, 11], dtype=np.uint64)).random_raw(260 * 3 * 32 * 32 + 260)
    labels = (words[:260] % np.uint64(10)).astype(np.int64)
    pixels = (words[260:] >> np.uint64(56)).astype(np.uint8).reshape(260, 3, 32, 32)
    pixels[:, 0] //= 2
    pixels[:, 1, :16] = (pixels[:, 1, :16] + 20 * labels[:, None, None].astype(np.uint8)) // 2
    np.savez(path, x_train=pixels[:200], y_train=labels[:200], x_test=pixels[200:], y_test=labels[200:])


def digest(*parts):
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def tensors(path):
    return {
        name: digest(f"{value.dtype} {value.shape}".encode(), np.ascontiguousarray(value).tobytes())
        for name, value in sorted(load_file(path).items())
    }


def trajectory(folder, name, backend):
    """Train one recipe under one backend; its losses and hashes."""
    recipe = folder / f"{name}.toml"
    recipe.write_text(tomli_w.dumps({"name": name, "seed": 3, **RECIPES[name]}))
    run = folder / f"{name}-{backend}"
    command = [sys.executable, "-m", "xtrain", "run", str(recipe), "--backend", backend, "--threads", "1"]
    done = subprocess.run(
        [*command, "--out", str(run)], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name} under {backend} ended with code {done.returncode}:\n{done.stderr}")
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = [{key: value for key, value in record.items() if key not in _TIMES} for record in records]
    last = max((run / "checkpoints").glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
    return {
        "losses": [record["loss"].hex() for record in kept if record["kind"] == "train"],
        "records": digest(json.dumps(kept, sort_keys=True).encode()),
        "weights": tensors(last / "weights.safetensors"),
        "optimizer": tensors(last / "optimizer.safetensors"),
    }


def versions():
    found = {"python": platform.python_version()}
    for package in ("numpy", "torch", "paddlepaddle", "mindspore"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def differences(before, now):
    """What is not the same to the bit, in words; nothing where all is."""
    found = [f"{kind} differ" for kind in ("losses", "records") if before[kind] != now[kind]]
    for kind in ("weights", "optimizer"):
        names = before[kind].keys() | now[kind].keys()
        moved = sorted(name for name in names if before[kind].get(name) != now[kind].get(name))
        found += [f"{len(moved)} of {len(names)} tensors of the {kind} differ: {moved[0]}"] if moved else []
    if before["losses"] != now["losses"]:
        pairs = zip(before["losses"], now["losses"], strict=False)
        steps = [(n, float.fromhex(a), float.fromhex(b)) for n, (a, b) in enumerate(pairs, 1) if a != b]
        n, a, b = steps[0] if steps else (0, 0.0, 0.0)
        largest = max((abs(a - b) / abs(a) for _, a, b in steps), default=0.0)
        found[0] += f" from record {n} on, {a!r} and {b!r}; at most {largest:.2g} of the loss"
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, help="keep what was found")
    parser.add_argument("--against", type=Path, help="compare with what was kept")
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--recipes", default=",".join(RECIPES))
    given = parser.parse_args()
    before = json.loads(given.against.read_text()) if given.against else None
    found, same = {}, True
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        write_images(folder / "images.npz")
        for name in given.recipes.split(","):
            for backend in given.backends.split(","):
                now = trajectory(folder, name, backend)
                found[f"{name} {backend}"] = now
                said = f"{len(now['losses'])} losses, last {float.fromhex(now['losses'][-1]):.6f}"
                if before:
                    wrong = differences(before["found"][f"{name} {backend}"], now)
                    same = same and not wrong
                    said += "; equal to the bit" if not wrong else "; " + "; ".join(wrong)
                print(f"{name} under {backend}: {said}", flush=True)
    if given.out:
        about = {"versions": versions(), "machine": platform.machine(), "found": found}
        given.out.write_text(json.dumps(about, indent=1) + "\n")
    if before and before["versions"] != versions():
        print(f"versions were {before['versions']}, are {versions()}")
    if before:
        print("equal to the bit" if same else "not equal")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
