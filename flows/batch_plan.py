"""How a batch stands with what an earlier start has left: begin, go on, or refuse to mix."""

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

from flows.batch_job import Job, check_job
from flows.batch_record import MadeWith, Record, read_record
from flows.located import Identity, engine_settings, identified
from flows.request_file import no_row, requests_in
from wordmill.errors import DataError, OutputError
from wordmill.files import sha256_of
from wordmill.params.everything import Params


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a batch stands."""

    step: Literal["begin", "go on", "finish", "nothing to do"]
    """`finish`: every row is answered, and a kill came before OUT had its name."""
    made_with: MadeWith
    model: Identity
    num_rows: int
    tasks: frozenset[str]
    record: Record | None
    """Of an earlier start, where this one goes on."""


def planned(job: Job, params: Params, *, flow_run: str = "") -> Plan:
    """Look all rows over and say how the batch stands; nothing is written.

    Args:
        job: what is asked for.
        params: of the project.
        flow_run: who asks; a run that has begun anew goes on when it is tried again.

    Raises:
        ParamsError: there is no such model, or the files can't be read.
        DataError: a row is no request, or a file beside OUT is not what batch left there.
        OutputError: OUT, or a part of it, is there and is another batch's or nobody's.
        TryAgainError: MLflow does not answer.
    """
    check_job(job, params)
    digest, num_rows, tasks = hashlib.sha256(), 0, set[str]()
    for _, request in requests_in(job.source, defaults=job.defaults, heard=digest.update):
        num_rows += 1
        tasks.add(request["task"])
    if not num_rows:
        raise no_row(job.source)
    model = identified(job.model, params)
    plan = Plan(
        step="begin",
        made_with=_made_with(job, model, params, digest.hexdigest()),
        model=model,
        num_rows=num_rows,
        tasks=frozenset(tasks),
        record=None,
    )
    return _as_it_stands(job, plan, flow_run)


def _made_with(job: Job, model: Identity, params: Params, digest: str) -> MadeWith:
    settings = engine_settings(params) if model.version is None else {}
    labels = settings.pop("labels", {})
    return MadeWith(
        input=digest,
        model=model.name,
        version=model.version,
        files=model.files,
        code=model.code,
        **job.defaults,  # task and ask
        num_sequences=job.num_sequences,
        changes=job.changes,
        settings=settings,
        labels=hashlib.sha256(repr(labels).encode()).hexdigest() if labels else "",
    )


def _as_it_stands(job: Job, plan: Plan, flow_run: str) -> Plan:
    record = None
    try:
        record = read_record(job.record)
    except DataError:
        if not job.is_restarted:
            raise
    is_begun = record is not None and flow_run in [start.flow_run for start in record.starts]
    if job.is_restarted and not is_begun:
        return plan
    if record is None:
        for left in (job.out, job.part):
            if left.exists():
                raise OutputError(
                    f"{left}: is there, and without {job.record.name} nobody knows what it is made"
                    " with; --restart replaces it, another OUT keeps it"
                )
        return plan
    is_part = job.part.exists() and job.part.stat().st_size > 0
    if not is_part and not job.out.exists():
        return plan  # nothing is answered, or the answers were taken away
    _check_same(job, plan, record)
    plan = replace(plan, record=record)
    if record.end is None:
        check_replaces(job, record)
        return replace(plan, step="go on")
    if is_part and sha256_of(job.part) == record.end.sha256:
        return replace(plan, step="finish")
    if not job.out.exists() or sha256_of(job.out) != record.end.sha256:
        raise OutputError(
            f"{job.out}: has changed since its batch was done; --restart makes it again, another"
            " OUT keeps it"
        )
    return replace(plan, step="nothing to do")


def check_replaces(job: Job, record: Record) -> None:
    """See that OUT may be replaced: it is not there, or was when --restart was given.

    Raises:
        OutputError: somebody else has put it there since.
    """
    if job.out.exists() and not record.is_replacing:
        raise OutputError(
            f"{job.out}: was not there when its batch began; --restart replaces it, or move it"
            " away and the batch goes on"
        )


def _check_same(job: Job, plan: Plan, record: Record) -> None:
    then = record.made_with
    differences = plan.made_with.differences(then, asked=job.model)
    if not differences:
        return
    goes_on = ""
    if then.version is not None and then.version != plan.made_with.version:
        goes_on = f"--model {then.version} goes on with it, "
    was = "was begun otherwise" if record.end is None else "was made otherwise"
    raise OutputError(
        f"{job.out}: {was}: {'; '.join(differences)}. {goes_on}--restart makes it anew, another OUT"
        " keeps both"
    )


def nothing_to_do(job: Job, plan: Plan) -> str:
    """What to say where every answer is there."""
    which = f"the {plan.num_rows:,} answers" if plan.num_rows > 1 else "the answer"
    return f"nothing to do: {job.out} holds {which} of {plan.model.name} already"
