"""Certificates altered by someone who mends their hashes."""

import json

from xtrain.parity.trace import Trace, digest, hash_of, texts


def forged(path, change, deep=False):
    """Alter a certificate and mend its own hash; `deep`: those of its traces too."""
    told = json.loads(path.read_text())
    change(told)
    for trace in told["traces"] if deep else ():
        trace["facts"]["recipe_sha256"] = hash_of(trace["facts"]["recipe"])
        lines = texts(Trace({}, losses=trace["losses"], outcomes=trace["outcomes"]))
        trace["files"] |= {name: hash_of(lines[name]) for name in ("losses.jsonl", "outcomes.jsonl")}
        trace["sha256"] = digest({name: trace[name] for name in ("facts", "terms", "files")})
    del told["sha256"]
    path.write_text(json.dumps(told | {"sha256": digest(told)}))
