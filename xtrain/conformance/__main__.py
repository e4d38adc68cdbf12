"""`python -m xtrain.conformance --backend NAME`."""

import sys

from xtrain.conformance import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
