"""`python -m xtrain` is `xtrain`."""

from xtrain.cli import main

if __name__ == "__main__":
    main()
