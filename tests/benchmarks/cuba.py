"""The CUBA network of Brette et al. (2007): 2 % random synapses that are currents, no drive; see `coba`.

    python -m tests.benchmarks.cuba [--scale 1] [--duration-ms 1000] [--seed 0] [--rounds 5] [--compiled]
        [--brian2] [--json]

The figures are those of `tests.benchmarks.coba`.
"""

from __future__ import annotations

from ._networks import measure, options_of, parse, show


def main() -> None:
    options = parse(options_of(__doc__))
    show(measure("cuba", round(4000 * options.scale), options), options.json)


if __name__ == "__main__":
    main()
