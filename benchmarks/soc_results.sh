#!/usr/bin/env bash
# The pretrained policy of SocDag-v0 against every rule, paired by instance, on the grids of load and noise: about half an
# hour on two cores. Writes benchmarks/results/soc/SUITE.json; `python benchmarks/soc_tables.py` makes tables of them.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p benchmarks/results/soc
for suite in ${@:-canonical realworld canonical-burst realworld-burst realworld-five realworld-cpus canonical-closed}; do
    dispatchgym eval --env dispatchgym/SocDag-v0 --policy pretrained --suite "$suite" --against rules --json \
        > "benchmarks/results/soc/$suite.json.tmp"
    mv "benchmarks/results/soc/$suite.json.tmp" "benchmarks/results/soc/$suite.json"
    echo "$suite"
done
