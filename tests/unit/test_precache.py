"""Which images are pulled ahead of time, and by what."""

from __future__ import annotations

from typing import Any

from edge.policy.precache import Pulling, images_of, not_pulled, precache_object, pull_secrets_of


def workload(kind: str, *images: str, **spec: Any) -> dict[str, Any]:
    pods = {"containers": [{"name": f"c{at}", "image": image} for at, image in enumerate(images)], **spec}
    group = "batch/v1" if kind == "Job" else "apps/v1"
    return {"apiVersion": group, "kind": kind, "metadata": {"name": "a"}, "spec": {"template": {"spec": pods}}}


OBJECTS = [
    workload("Deployment", "web:1", "log:2", initContainers=[{"name": "i", "image": "init:3"}]),
    workload("Job", "web:1", "task:4", imagePullSecrets=[{"name": "pull"}]),
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {}},
]


def test_images_are_collected_from_all_that_makes_pods() -> None:
    assert images_of(OBJECTS) == ("init:3", "web:1", "log:2", "task:4")
    assert pull_secrets_of(OBJECTS) == ("pull",)


def test_each_image_is_an_init_container_that_needs_nothing_of_its_image() -> None:
    made = precache_object(["web:1", "log:2"], Pulling("shop", ("pull",), "runner:1"))
    spec = made["spec"]["template"]["spec"]
    assert [one["image"] for one in spec["initContainers"]] == ["runner:1", "web:1", "log:2"]
    assert {tuple(one["command"]) for one in spec["initContainers"][1:]} == {("/edge-precache/busybox", "true")}
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert made["metadata"]["name"] == precache_object(["web:1", "log:2"], Pulling())["metadata"]["name"]
    assert made["metadata"]["name"] != precache_object(["web:1"], Pulling())["metadata"]["name"]


def test_images_that_are_not_pulled_are_named_with_the_reason() -> None:
    waiting = [
        {"name": "a", "image": "web:1", "state": {"waiting": {"reason": "ImagePullBackOff"}}},
        {"name": "b", "image": "log:2", "state": {"waiting": {"reason": "PodInitializing"}}},
        {"name": "c", "image": "init:3", "state": {"terminated": {}}},
    ]
    assert not_pulled([{"status": {"initContainerStatuses": waiting}}, {}]) == ("web:1 (ImagePullBackOff)",)
