"""What a stamp comes to on a site, and where its secrets go."""

from __future__ import annotations

import base64
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from edge.errors import InvalidInput, NotFound
from edge.model.kube import KubeObject
from edge.model.site import Site
from edge.model.stamp import Component, Parameter, ParameterValues, Stamp
from tasks.engines import Answers
from tasks.rendering import Renderer

SITE = Site(name="graz", region="eu", tenant="acme", role="store")
CONFIG = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "${site_name}", namespace: shop}\ndata: {port: "${port}"}\n'
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: plc, namespace: shop}\nstringData:\n  password: ${password}\n"
PASSWORD = Parameter(secret=True, default="plc/password")


class Vault:
    """A secret source with what a test puts in it."""

    def __init__(self, **secrets: str) -> None:
        self._secrets = {name.replace("_", "/"): text for name, text in secrets.items()}

    def value(self, reference: str) -> str:
        if reference not in self._secrets:
            raise NotFound("There is no such secret", secret=reference)
        return self._secrets[reference]


def stamp(**files: str) -> Stamp:
    """A stamp of manifests: one component per file."""
    return Stamp(
        name="till",
        version="1.0.0",
        namespaces=("shop",),
        parameters={"port": Parameter(default="80"), **({"password": PASSWORD} if "secret" in files else {})},
        components=tuple(Component(name=name, path=f"{name}.yaml") for name in files),
        manifests={f"{name}.yaml": text for name, text in files.items()},
        digest="0" * 64,
    )


def test_a_site_gets_its_own_objects() -> None:
    (made,) = Renderer(stamp(config=CONFIG)).objects(SITE, {"port": "81"})
    assert made["metadata"]["name"] == "graz"
    assert made["data"] == {"port": "81"}


def test_a_secret_is_in_what_is_applied_and_nowhere_else() -> None:
    renderer = Renderer(stamp(secret=SECRET), Vault(plc_password="hunter2"))
    assert _password(renderer.objects(SITE, {})) == "hunter2"
    assert _password(renderer.stages(SITE, {})[0]) == "hunter2"
    assert _password(renderer.shown(SITE, {})) == "<secret plc/password>"


def test_another_secret_does_not_make_another_content() -> None:
    contents = {Renderer(stamp(secret=SECRET), Vault(plc_password=text)).content(SITE, {}) for text in ("one", "two")}
    assert len(contents) == 1


def test_what_is_shown_needs_no_secret_source_but_what_is_applied_does() -> None:
    renderer = Renderer(stamp(secret=SECRET))
    assert renderer.content(SITE, {}) == Renderer(stamp(secret=SECRET), Vault(plc_password="x")).content(SITE, {})
    with pytest.raises(InvalidInput, match="no secret source") as caught:
        renderer.objects(SITE, {})
    assert caught.value.where == {"site": "graz", "parameter": "password"}


@pytest.mark.parametrize("ask", [Renderer.shown, Renderer.objects, Renderer.content], ids=lambda ask: ask.__name__)
def test_a_missing_secret_names_itself_and_the_site(ask: Callable[..., object]) -> None:
    with pytest.raises(NotFound) as caught:
        ask(Renderer(stamp(secret=SECRET), Vault()), SITE, {})
    assert caught.value.where == {"secret": "plc/password", "site": "graz"}


def test_an_error_about_a_filled_secret_does_not_quote_it() -> None:
    renderer = Renderer(stamp(secret=SECRET), Vault(plc_password="123456"))
    with pytest.raises(InvalidInput, match="quotes") as caught:
        renderer.objects(SITE, {})
    assert caught.value.where["value"] == "<secret plc/password>"
    assert "123456" not in "".join(traceback.format_exception(caught.value))


def test_a_secret_of_several_lines_stays_one_value() -> None:
    key = "-----BEGIN KEY-----\na: b\n-----END KEY-----\n"
    assert _password(Renderer(stamp(secret=SECRET), Vault(plc_password=key)).objects(SITE, {})) == key


def test_what_depends_on_others_comes_in_a_later_stage() -> None:
    made = stamp(config=CONFIG, secret=SECRET)
    first, second = made.components
    turned = made.model_copy(update={"components": (first.model_copy(update={"depends_on": (second.name,)}), second)})
    stages = Renderer(turned, Vault(plc_password="x")).stages(SITE, {})
    assert [[obj["kind"] for obj in stage] for stage in stages] == [["Secret"], ["ConfigMap"]]


def test_values_of_the_stamp_for_a_region_are_used() -> None:
    made = stamp(config=CONFIG).model_copy(update={"values": ParameterValues(regions={"eu": {"port": "8443"}})})
    assert Renderer(made).objects(SITE, {})[0]["data"] == {"port": "8443"}


def _password(objects: Iterable[KubeObject]) -> str:
    (secret,) = objects
    return base64.b64decode(secret["data"]["password"]).decode()


def test_an_engine_runs_once_for_all_who_ask_at_the_same_time() -> None:
    made: list[str] = []
    together = threading.Barrier(8)
    answers: Answers[str] = Answers()

    def make() -> str:
        made.append("made")
        time.sleep(0.05)  # long enough for the others to come
        return "answer"

    def ask(_: int) -> str:
        together.wait()
        return answers.get("key", make)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"answer"}
    assert made == ["made"]


def test_an_engine_that_failed_is_asked_again() -> None:
    answers: Answers[str] = Answers()

    def fail() -> str:
        raise InvalidInput("not yet")

    with pytest.raises(InvalidInput):
        answers.get("key", fail)
    assert answers.get("key", lambda: "answer") == "answer"
