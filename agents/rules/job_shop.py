"""Priority dispatching rules of the job shop (keys: Haupt 1989; FDD/MWKR: Sels, Gheysen, Vanhoucke 2012).

For the next operation of a job: D its duration, W the work of the job from it on, F the work up to and including it, r the
completion of the job's previous operation. The smallest key wins; ties go to the lowest job. The scheme decides as much as
the rule, so every report names both; ``non_delay`` is the strongest for all of these and the default.
"""

from __future__ import annotations

from dispatchgym.agents.rules.base import Rule, smallest, smallest_ratio, uniform

NON_DELAY = {"scheme": "non_delay"}

_RULES = (
    Rule("spt", "shortest processing time: D", smallest(lambda c: c["duration"]), NON_DELAY),
    Rule("lpt", "longest processing time: -D", smallest(lambda c: -c["duration"]), NON_DELAY),
    Rule("fifo", "first in, first out: r", smallest(lambda c: c["job_ready"]), NON_DELAY),
    Rule("mwkr", "most work remaining: -W", smallest(lambda c: -c["work_remaining"]), NON_DELAY),
    Rule("lwkr", "least work remaining: W", smallest(lambda c: c["work_remaining"]), NON_DELAY),
    Rule("mopnr", "most operations remaining", smallest(lambda c: -c["operations_remaining"]), NON_DELAY),
    Rule("lopnr", "least operations remaining", smallest(lambda c: c["operations_remaining"]), NON_DELAY),
    Rule(
        "fdd_mwkr",
        "flow due date over most work remaining: F / W",
        smallest_ratio(lambda c: (c.integer("work_done"), c.integer("work_remaining"))),
        NON_DELAY,
    ),
    Rule("random", "any legal job, all equally likely", uniform, NON_DELAY, stochastic=True),
)

RULES = {rule.name: rule for rule in _RULES}
