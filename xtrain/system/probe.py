"""`python -m xtrain.system.probe NAME`: one backend's probe as JSON, in a process of its own."""

import json
import os
import sys
from dataclasses import asdict

from xtrain import plugins


def main(name: str) -> None:
    """Print what the backend finds on this machine."""
    backend = plugins.load(name)
    os.environ.update(backend.environment(None, None))
    print(json.dumps(asdict(backend.probe())))  # noqa: T201 - this is the whole purpose


if __name__ == "__main__":
    main(sys.argv[1])
