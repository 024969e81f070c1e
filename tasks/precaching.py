"""Pulls a stamp's images to sites ahead of their maintenance window."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from edge.errors import EdgeError
from edge.model.site import Site
from edge.settings import Settings
from tasks.precache import precache_objects
from tasks.rollout import RolloutJob
from tasks.site_lock import is_locked


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="pull images at {sites[0]}")
def precache_sites(job: RolloutJob, sites: tuple[str, ...]) -> int:
    """Pull the images at each of these sites; answers at how many all were. The rest pull them when they are needed."""
    return sum(_is_pulled(job, job.ledger.sites.get(site)) for site in sites)


def _is_pulled(job: RolloutJob, site: Site) -> bool:
    try:
        objects = job.renderer.shown(site, job.plan.parameters)
        with job.slot(site.name), job.credentials.client(site.name) as client:
            if is_locked(job, client, site.name):
                return False
            precache_objects(client, objects, runner=Settings().precache_image)
    except EdgeError as error:
        get_run_logger().warning("Images are not all at %s ahead of time: %s", site.name, error)
        return False
    return True
