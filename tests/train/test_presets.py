"""Every shipped preset is a configuration whose environments exist."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

from dispatchgym.envs.registry import lookup, make
from dispatchgym.train.presets import ALGORITHMS, FOLDER, configure, presets

SHIPPED = [(algorithm, name) for algorithm in ALGORITHMS for name in presets(algorithm)]


@pytest.mark.parametrize(("algorithm", "name"), SHIPPED, ids=["-".join(pair) for pair in SHIPPED])
def test_a_preset_can_be_started(algorithm, name):
    env = yaml.safe_load((FOLDER / algorithm / f"{name}.yml").read_text())["env"]
    _, config = configure(lookup(env), algorithm, name, {}, 0)
    values = dataclasses.asdict(config)
    drawn = values["generators"] if "generators" in values else (values["generator"],)
    for generator in {*drawn, *values["validation"]}:
        make(env, generator=generator, **config.options)
