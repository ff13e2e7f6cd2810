"""Job shop scheduling (``dispatchgym/JobShop-v0``)."""

from dispatchgym.envs.job_shop.env import SCHEMES, JobShop, JobShopState
from dispatchgym.envs.job_shop.problem import JobShopProblem

__all__ = ["SCHEMES", "JobShop", "JobShopProblem", "JobShopState"]
