"""The directory of the experiments that come with rnnlab."""

from pathlib import Path

import rnnlab

PACKAGE = Path(rnnlab.__file__).parent
EXPERIMENTS = Path("experiments", "training")


def shipped_experiments() -> Path:
    """Returns the directory of the experiments that can be run by name.

    It is that of the working directory if there is one, of the checkout that rnnlab is installed
    from, or of the installed package. Where none exists, the first is returned.
    """
    places = (EXPERIMENTS, PACKAGE.parent / EXPERIMENTS, PACKAGE / "experiments")
    return next((place for place in places if place.is_dir()), EXPERIMENTS)
