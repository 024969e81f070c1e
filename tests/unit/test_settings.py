"""Settings from the environment: what is wrong is named, and a secret among it is not shown."""

from __future__ import annotations

import pytest

from edge.errors import InvalidInput
from edge.settings import Settings


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        pytest.param("EDGE_ALLOW_EXEC", "kubelogin", "EDGE_ALLOW_EXEC", id="no-json"),
        pytest.param("EDGE_ALLOW_EXEC", '{"a": 1}', "EDGE_ALLOW_EXEC", id="no-list"),
        pytest.param("EDGE_ARC_KEY_BITS", "many", "EDGE_ARC_KEY_BITS", id="no-number"),
        pytest.param("EDGE_ARC_KEY_BITS", "1024", "EDGE_ARC_KEY_BITS", id="key-too-small"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput) as refused:
        Settings()
    assert refused.value.where["field"] == field
    assert refused.value.where["value"] == value


@pytest.mark.parametrize("value", ["hunter2hunter2", '{"hunter2": 1}', '["hunter2", 5]'])
@pytest.mark.parametrize("name", ["EDGE_GATEWAY_TOKENS", "EDGE_GATEWAY_HMAC_KEYS"])
def test_a_wrong_setting_that_holds_a_secret_is_named_without_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput) as refused:
        Settings()
    assert refused.value.where["field"] == name
    error: BaseException | None = refused.value
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_ARC_KEY_BITS", "2048")
    monkeypatch.setenv("EDGE_GATEWAY_TOKENS", '["a-token-of-the-test"]')
    settings = Settings()
    assert settings.arc_key_bits == 2048
    assert [token.get_secret_value() for token in settings.gateway_tokens] == ["a-token-of-the-test"]
    assert "a-token-of-the-test" not in repr(settings)
