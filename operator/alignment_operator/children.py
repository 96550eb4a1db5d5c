"""Making a run's ConfigMap, Service and Job, the Job last, as often as needed and never twice."""

import logging
from collections.abc import Callable
from itertools import takewhile
from typing import Any

import aiohttp
import yaml

from . import jobs, networkpolicy, recipe
from .api.alignmentjob import AlignmentJob
from .api.constants import Reason
from .cluster import ApiError, Cluster
from .observed import UpstreamView
from .problems import SpecProblem
from .resources import CONFIG_MAPS, Resource, of
from .runs import Decision
from .settings import Settings

log = logging.getLogger(__name__)
Object = dict[str, Any]


class NotYet(Exception):
    """The name belongs to an object that is on its way out."""


class Children:
    """The writer of child objects. `authority` gives the PEM text of the CA that the pods trust for reports."""

    def __init__(self, cluster: Cluster, settings: Settings, authority: Callable[[], str]) -> None:
        self._cluster, self._settings, self._authority = cluster, settings, authority

    async def make(
        self, job: AlignmentJob, decision: Decision, upstream: UpstreamView | None, *, placed: bool = False
    ) -> Object:
        """Make what is missing of the run; returns the Job. Raises NotYet, SpecProblem, ApiError.

        `placed`: `place` has just made all that comes before the Job.
        """
        # of a run whose Job was never seen no pod has read anything: what is there may be of another spec
        fresh = job.status.job_uid is None
        built = decision.recipe or await self._recipe(job, decision.run, upstream, fresh)
        if not placed:
            await self._surround(job, built, decision.run, fresh)
        try:
            return await self._ensure(job, self._job(job, built, decision, upstream))
        except ApiError as error:
            if error.refused:
                raise refusal(error) from error
            raise

    async def place(self, job: AlignmentJob, decision: Decision) -> bool:
        """Make what comes before the Job of a run that is about to begin; returns whether all of it was made.

        It takes no device, and touches nothing that is there: whether the run begins is decided elsewhere meanwhile.
        What the API server says against it is left to `make`, which asks again.
        """
        assert decision.recipe is not None
        try:
            for manifest in self._before_job(job, decision.recipe, decision.run):
                await self._cluster.create(of(manifest), manifest)
        except (ApiError, TimeoutError, aiohttp.ClientError) as error:
            log.debug("not placed", extra={"because": str(error) or repr(error)})
            return False
        return True

    async def clear(self, resource: Resource, meta: Object) -> None:
        """Delete a child of a deleted AlignmentJob of this name.

        The garbage collector does it, unless its watch was broken meanwhile: then it takes the new one for the old.
        """
        log.info("clearing up", extra={"resource": resource.plural, "child": meta["name"], "uid": meta["uid"]})
        await self._cluster.delete(resource, meta["namespace"], meta["name"], meta["uid"])

    async def refusal(self, job: AlignmentJob, decision: Decision, upstream: UpstreamView | None) -> SpecProblem | None:
        """What the API server would say to the Job of a run that has not begun: a dry run. Raises ApiError."""
        built = decision.recipe or recipe.build(job, decision.run, self._settings, upstream)
        manifest = self._job(job, built, decision, upstream)
        try:
            await self._cluster.create(of(manifest), manifest, dry_run=True)
        except ApiError as error:
            if error.refused:
                return SpecProblem("", error.message, Reason.POD_INVALID)
            if not error.already_exists:
                raise
        return None

    def _job(
        self, job: AlignmentJob, built: recipe.Recipe, decision: Decision, upstream: UpstreamView | None
    ) -> Object:
        return decision.child or jobs.job(job, built, decision.run, self._settings, upstream)

    def _before_job(self, job: AlignmentJob, built: recipe.Recipe, run: int) -> list[Object]:
        """The ConfigMap, the Service of several nodes, the NetworkPolicy: the pods that it holds come after it."""
        config = jobs.config_map(job, built, run, self._settings, self._authority())
        more = jobs.service(job, run, self._settings), networkpolicy.network_policy(job, run, self._settings)
        return [config, *(manifest for manifest in more if manifest)]

    async def _surround(self, job: AlignmentJob, built: recipe.Recipe, run: int, fresh: bool) -> None:
        config, *more = self._before_job(job, built, run)
        await self._config_map(job, config, replace=fresh)
        for manifest in more:
            await self._ensure(job, manifest)

    async def _recipe(self, job: AlignmentJob, run: int, upstream: UpstreamView | None, fresh: bool) -> recipe.Recipe:
        """The recipe that the run started with, whatever this operator would write today: the run must resume."""
        if fresh:
            return recipe.build(job, run, self._settings, upstream)
        name = recipe.child_name(job.metadata.name, run)
        config = await self._cluster.get(CONFIG_MAPS, job.metadata.namespace, name)
        if config is None or not _is_ours(config, job):
            return recipe.build(job, run, self._settings, upstream)
        text = config["data"]["recipe.yaml"]
        what, how = yaml.safe_load(text), yaml.safe_load(config["data"]["run.yaml"])
        head = "".join(takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True)))
        return recipe.Recipe(what, how, "", how["outputPath"], head)

    async def _config_map(self, job: AlignmentJob, manifest: Object, *, replace: bool) -> None:
        """It is immutable: one that was left by another start of this run is made anew."""
        there = await self._ensure(job, manifest)
        if replace and there.get("data") != manifest["data"]:
            await self._cluster.delete(
                CONFIG_MAPS, job.metadata.namespace, there["metadata"]["name"], there["metadata"]["uid"]
            )
            await self._ensure(job, manifest)

    async def _ensure(self, job: AlignmentJob, manifest: Object) -> Object:
        resource = of(manifest)
        try:
            return await self._cluster.create(resource, manifest)
        except ApiError as error:
            if not error.already_exists:
                raise
        there = await self._cluster.get(resource, job.metadata.namespace, manifest["metadata"]["name"])
        if there is not None and _is_predecessors(there, job):
            await self.clear(resource, there["metadata"])
        if there is None or "deletionTimestamp" in there["metadata"] or _is_predecessors(there, job):
            raise NotYet(f"{resource.kind} {manifest['metadata']['name']} of an earlier start is being deleted")
        if not _is_ours(there, job):
            what = f"{resource.kind} {job.metadata.namespace}/{manifest['metadata']['name']}"
            cure = "Delete it, or give this AlignmentJob another name."
            raise SpecProblem("metadata.name", f"{what} exists and is not this job's. {cure}", Reason.NAME_TAKEN)
        return there


def refusal(error: ApiError) -> SpecProblem:
    """The API server's word on a Job. What it cannot even read, it names no path of: only podTemplate is unchecked."""
    return SpecProblem("spec.podTemplate" if error.status == 400 else "", error.message, Reason.POD_INVALID)


def _controller(obj: Object) -> Object:
    return next((o for o in obj["metadata"].get("ownerReferences") or () if o.get("controller")), {})


def _is_ours(obj: Object, job: AlignmentJob) -> bool:
    return _controller(obj).get("uid") == job.metadata.uid


def _is_predecessors(obj: Object, job: AlignmentJob) -> bool:
    """Of an AlignmentJob of the same name that was deleted: the garbage collector is on its way."""
    owner = _controller(obj)
    return (
        owner.get("kind") == "AlignmentJob"
        and owner.get("name") == job.metadata.name
        and owner.get("uid") != job.metadata.uid
    )
