#!/usr/bin/env bash
# Evaluate every method of the README's table on Taillard's 80 instances; one JSON document each, existing ones are kept.
# Afterwards: python benchmarks/readme.py writes the table into the README.
set -euo pipefail
cd "$(dirname "$0")/results/job_shop"
run() { # file, then the arguments of eval
    local file="$1.json"
    shift
    [ -s "$file" ] && return
    echo "$file" >&2
    dispatchgym eval --env dispatchgym/JobShop-v0 --quiet --json "$@" > "$file.part" && mv "$file.part" "$file"
}
for rule in spt lpt fifo mwkr lwkr mopnr lopnr fdd_mwkr random; do
    run "$rule" --policy "$rule" --suite taillard
done
run pretrained --policy pretrained --suite taillard
for rule in spt mwkr mopnr fdd_mwkr; do
    run "randomised_$rule" --policy "randomised_$rule" --suite taillard
done
run insa --policy insa --suite taillard
run pretrained_128 --policy pretrained --suite taillard --samples 128
run cp_sat_10s_15x15 --policy cp_sat --suite taillard-15x15 --time-limit 10 --workers 2
run shifting_bottleneck --policy shifting_bottleneck --suite taillard
