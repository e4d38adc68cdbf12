"""MindSpore on as many CPUs as it has threads: each of them is held to one, the caller to none."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, os, pathlib, sys
os.sched_setaffinity(0, json.loads(sys.argv[1]))
from xtrain.training import assembly
from xtrain.recipe import load_recipe
job = load_recipe("digits_mlp").bind()
backend = assembly.open_backend(assembly.Options("mindspore"), job.model)
model = backend.model(job.model)
model.load(assembly.initial_state(job))
backend.loop(model, job.recipe.loss, backend.optimizer(job.recipe.optimizer, model))
tasks = {task.name: (task / "comm").read_text().strip() for task in pathlib.Path("/proc/self/task").iterdir()}
held = {name: sorted(os.sched_getaffinity(int(task))) for task, name in tasks.items()}
print(json.dumps({"caller": sorted(os.sched_getaffinity(0)), "held": held}))
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="CPUs can be chosen on Linux alone")
def test_workers_have_a_cpu_each(tmp_path):
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        pytest.skip("one CPU: there is nothing to spread over")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(cpus)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    workers = {name: on for name, on in found["held"].items() if name.startswith(("Actor", "Kernel"))}
    assert len(workers) >= 2, f"MindSpore has no threads of these names any more: {sorted(found['held'])}"
    assert found["caller"] == cpus
    assert all(len(on) == 1 for on in workers.values())
    assert {cpu for on in workers.values() for cpu in on} == set(cpus)
