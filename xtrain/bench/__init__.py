"""How fast a recipe trains: xtrain's backends in turn, beside loops that others wrote."""
