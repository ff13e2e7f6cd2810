"""Job shop scheduling (``dispatchgym/JobShop-v0``)."""

from dispatchgym.envs.job_shop.env import SCHEMES, JobShop, JobShopProblem, JobShopState

__all__ = ["SCHEMES", "JobShop", "JobShopProblem", "JobShopState"]
