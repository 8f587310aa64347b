"""Who runs the models of a batch: joblib's own workers, a dask cluster or a ray cluster.

Each ``Scheduler`` takes one function and many arguments, keeps at most ``jobs`` of them running, and yields results as
they end. What a killed worker had is run again by another worker, up to ``RETRIES`` times; a job that takes down its
worker every time is a crashed model, and the rest goes on.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Literal

from modelexport.ir.errors import ConfigError, MissingExtraError

Backend = Literal["loky", "dask", "ray"]
Line = dict[str, Any]
Job = tuple[Any, ...]
Work = Callable[..., Line]
Say = Callable[[str], None]
RETRIES = 3


def run(
    backend: Backend, address: str | None, jobs: int, dashboard: bool, say: Say, work: Work, todo: Sequence[Job]
) -> Iterator[tuple[Job, Line]]:
    """Each job with what ``work(*job)`` returned, as they end.

    A job whose worker was lost more than ``RETRIES`` times gives ``{"status": "crashed", ...}``.

    Raises:
        ConfigError: the cluster can't be reached or started, or its package is not installed.
        MissingExtraError: joblib is not installed.
    """
    how = {"loky": _loky, "dask": _dask, "ray": _ray}[backend]
    yield from how(address, jobs, dashboard, say, work, todo)


def lost(error: BaseException) -> Line:
    """The line of a job whose worker went away each time that it ran it."""
    text = " ".join(str(error).split())
    return {"status": "crashed", "error": f"its worker was lost {RETRIES + 1} times: {text[:500]}", "seconds": 0.0}


def _loky(
    address: str | None, jobs: int, dashboard: bool, say: Say, work: Work, todo: Sequence[Job]
) -> Iterator[tuple[Job, Line]]:
    try:
        import joblib
    except ImportError as error:
        raise MissingExtraError("joblib", "batch", "modelexport batch") from error
    from modelexport.cli.batching.worker import end_with

    watch = {"initializer": end_with, "initargs": (os.getpid(),)}
    with joblib.parallel_config(backend="loky", **watch):
        calls = (joblib.delayed(_paired)(work, job) for job in todo)
        yield from joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(calls)


def _paired(work: Work, job: Job) -> tuple[Job, Line]:
    return job, work(*job)


def _dask(
    address: str | None, jobs: int, dashboard: bool, say: Say, work: Work, todo: Sequence[Job]
) -> Iterator[tuple[Job, Line]]:
    try:
        import dask.config
        from distributed import Client, KilledWorker, LocalCluster, as_completed
    except ImportError as error:
        raise ConfigError("--backend dask needs dask: pip install distributed") from error
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": RETRIES}))
        try:
            where = address or stack.enter_context(
                LocalCluster(
                    n_workers=jobs, threads_per_worker=1, dashboard_address="localhost:0" if dashboard else None
                )
            )
            client = stack.enter_context(Client(where, timeout="20s"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"no dask scheduler at {address}: {error}") from error
        if (dashboard or address) and client.dashboard_link:
            say(f"dashboard: {client.dashboard_link}")
        if address:  # a worker that can't unpack its work drops it, and nobody would hear of that
            _have_the_package(client.run(find_spec, "modelexport"))
        waiting = list(reversed(todo))
        running: dict[str, Job] = {}

        def start() -> Any:
            job = waiting.pop()
            # pure=False: equal arguments are still two models; a lost worker's tasks are rescheduled by dask itself
            future = client.submit(work, *job, pure=False)
            running[future.key] = job
            return future

        ended = as_completed([start() for _ in range(min(jobs, len(waiting)))])
        for future in ended:
            job = running.pop(future.key)
            try:
                line: Line = future.result()
            except KilledWorker as error:
                line = lost(error)
            if waiting:
                ended.add(start())
            yield job, line


def _have_the_package(found: Mapping[str, object]) -> None:
    lacking = sorted(worker for worker, spec in found.items() if spec is None)
    if lacking:
        raise ConfigError(f"modelexport is not installed on {len(lacking)} of {len(found)} workers: {lacking[0]}")


def _ray(
    address: str | None, jobs: int, dashboard: bool, say: Say, work: Work, todo: Sequence[Job]
) -> Iterator[tuple[Job, Line]]:
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--backend ray needs ray: pip install 'ray[default]'") from error
    local: dict[str, Any] = {} if address else {"num_cpus": jobs, "include_dashboard": dashboard}
    try:
        # a package of ours that is on the path of this process only is found by the workers too
        path = {"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"]}} if os.environ.get("PYTHONPATH") else {}
        context = ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=path, **local)
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"no ray cluster at {address}: {' '.join(str(error).split())}") from error
    try:
        if context.dashboard_url:
            say(f"dashboard: http://{context.dashboard_url}")
        remote = ray.remote(max_retries=RETRIES, num_cpus=1)(work)
        waiting = list(reversed(todo))
        running: dict[Any, Job] = {}
        while waiting or running:
            while waiting and len(running) < jobs:
                job = waiting.pop()
                running[remote.remote(*job)] = job
            ended, _ = ray.wait(list(running), num_returns=1)
            for reference in ended:
                job = running.pop(reference)
                try:
                    line: Line = ray.get(reference)
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
                    line = lost(error)
                yield job, line
    finally:
        ray.shutdown()
