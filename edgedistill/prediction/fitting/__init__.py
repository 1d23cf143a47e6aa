"""How the constants of the prediction are fitted and validated; run by maintainers."""
