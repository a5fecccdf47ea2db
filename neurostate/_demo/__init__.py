"""The parts of `python -m neurostate`, written as a user of neurostate would write them."""
