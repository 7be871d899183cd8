"""`wordmill batch`: what can be told at once is told here, before Prefect starts for the flow."""

import json
import sys
from typing import Any

from flows.batch_job import alone, job_of
from flows.batch_plan import nothing_to_do, planned
from flows.group import status_of
from flows.servers import check_servers
from wordmill.params.everything import Params


def run_batch(params: Params, told: dict[str, Any]) -> int:
    """Run the flow in a group of its own, where there is something to do.

    Args:
        params: of the project.
        told: the flow's parameters.

    Raises:
        WordmillError: something is wrong with them, or with what an earlier start has left.
    """
    job = job_of(**told)
    with alone(job):  # the flow looks again
        plan = planned(job, params)
    if plan.step == "nothing to do":
        print(nothing_to_do(job, plan))
        return 0
    check_servers()
    return status_of([sys.executable, "-m", "flows.batch", json.dumps(told)])
