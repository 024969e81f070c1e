"""Which faults a site feels, and when: scenarios and spells as data."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from edge.errors import InvalidInput
from edge.lab.scenario import parse_scenario, read_scenario, scenario_names
from edge.lab.weather import (
    FAULT,
    EgressBlocked,
    ExpiredToken,
    FaultKind,
    Lossy,
    NoDns,
    Offline,
    OfflineMode,
    Scenario,
    SiteSelector,
    Slow,
    Spell,
    SpellRule,
    active,
    away_at_start,
    next_change,
    spells_of,
    way_out,
    with_spell,
    without_kind,
)

REGIONS = ("emea-west", "amer-east", "apac-south")
FLEET = [(f"site-{number:04d}", REGIONS[(number - 1) % 3]) for number in range(1, 1001)]


def struck(selector: SiteSelector, seed: int = 0) -> list[str]:
    scenario = Scenario(name="t", seed=seed, weather=(SpellRule(sites=selector, fault=Offline()),))
    return [site for site, region in FLEET if spells_of(scenario, site, region)]


def test_an_empty_selector_strikes_every_site():
    assert len(struck(SiteSelector())) == 1000


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param(SiteSelector(names=("site-0012",)), ["site-0012"], id="one name"),
        pytest.param(SiteSelector(names=("site-000?",)), [f"site-000{n}" for n in range(1, 10)], id="glob"),
        pytest.param(
            SiteSelector(names=("site-000?",), regions=("apac-south",)),
            ["site-0003", "site-0006", "site-0009"],
            id="glob and region",
        ),
        pytest.param(SiteSelector(names=("nowhere",)), [], id="no such site"),
        pytest.param(SiteSelector(percent=0), [], id="no share"),
    ],
)
def test_a_selector_strikes_what_it_names(selector, expected):
    assert struck(selector) == expected


def test_a_percentage_strikes_about_that_share_and_the_same_sites_each_time():
    chosen = struck(SiteSelector(percent=10))

    assert 70 <= len(chosen) <= 130
    assert chosen == struck(SiteSelector(percent=10))
    assert chosen != struck(SiteSelector(percent=10), seed=1)


def test_a_larger_percentage_keeps_the_sites_of_the_smaller():
    assert set(struck(SiteSelector(percent=10))) < set(struck(SiteSelector(percent=20)))


@pytest.mark.parametrize(
    ("moment", "felt"),
    [
        pytest.param(4.9, False, id="before"),
        pytest.param(5.0, True, id="from the first moment"),
        pytest.param(14.9, True, id="until just before the end"),
        pytest.param(15.0, False, id="not at the end"),
    ],
)
def test_a_spell_is_felt_from_its_start_to_its_end(moment, felt):
    scenario = Scenario(name="t", weather=(SpellRule(fault=Offline(), start_s=5, for_s=10),))

    assert bool(active(spells_of(scenario, "site-0001", "emea-west"), moment)) is felt


def test_the_later_spell_of_a_kind_wins_and_kinds_add_up():
    spells = (
        Spell(fault=Offline(mode=OfflineMode.RESET)),
        Spell(fault=Slow()),
        Spell(fault=Offline(mode=OfflineMode.SILENT)),
    )

    assert set(active(spells, 0)) == {Offline(mode=OfflineMode.SILENT), Slow()}


def test_the_next_change_is_the_nearest_start_or_end_ahead():
    spells = (Spell(fault=Offline(), from_s=5, until_s=15), Spell(fault=Slow(), from_s=8))

    assert [next_change(spells, now) for now in (0, 5, 8, 15)] == [5, 8, 15, None]


def test_setting_a_fault_replaces_the_one_of_its_kind_alone():
    before = (Spell(fault=Lossy(share=0.1)), Spell(fault=Slow()))

    after = with_spell(before, Spell(fault=Lossy(share=0.5)))

    assert set(active(after, 0)) == {Slow(), Lossy(share=0.5)}


def test_lifting_takes_one_kind_or_all():
    spells = (Spell(fault=ExpiredToken()), Spell(fault=Slow()))

    assert active(without_kind(spells, FaultKind.SLOW), 0) == (ExpiredToken(),)
    assert without_kind(spells, None) == ()


@pytest.mark.parametrize(
    ("spell", "away"),
    [
        pytest.param(Spell(fault=Offline(mode=OfflineMode.REFUSED)), True, id="refused from the start"),
        pytest.param(Spell(fault=Offline(mode=OfflineMode.REFUSED), from_s=1), False, id="refused later"),
        pytest.param(Spell(fault=Offline(mode=OfflineMode.RESET)), False, id="reset"),
        pytest.param(Spell(fault=Slow()), False, id="slow"),
    ],
)
def test_only_a_site_refused_from_the_start_gets_an_address_where_nobody_listens(spell, away):
    assert away_at_start([spell]) is away


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "hail"}, id="unknown kind"),
        pytest.param({"kind": "lossy", "share": 1.5}, id="share above one"),
        pytest.param({"kind": "server-error", "status": 404}, id="not a 5xx"),
        pytest.param({"kind": "slow", "latency_s": -1}, id="negative time"),
        pytest.param({"kind": "full-node", "share": 0.5}, id="setting of another kind"),
        pytest.param({}, id="nothing"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(fault):
    with pytest.raises(ValidationError):
        FAULT.validate_python(fault)


@pytest.mark.parametrize("name", scenario_names())
def test_every_shipped_scenario_reads_and_says_what_it_is(name):
    scenario, folder = read_scenario(name)

    assert (scenario.name, folder) == (name, None)
    assert scenario.description


def test_the_demo_has_its_twelfth_site_refused_and_no_other():
    scenario, _ = read_scenario("demo")

    away = [site for site, region in FLEET[:12] if away_at_start(spells_of(scenario, site, region))]

    assert away == ["site-0012"]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        pytest.param("name: x\nwether: []", "wether", id="unknown field"),
        pytest.param("description: x", "name", id="without a name"),
        pytest.param("name: x\nnodes: {count: 0}", "nodes.count", id="no nodes"),
        pytest.param("name: x\nweather: [{fault: {kind: slow, latency: 1}}]", "weather.0.fault.latency", id="typo"),
    ],
)
def test_a_wrong_scenario_names_file_and_field(text, field):
    with pytest.raises(InvalidInput) as caught:
        parse_scenario(text, "bad.yaml")

    assert (caught.value.where["file"], caught.value.where["field"]) == ("bad.yaml", field)


@pytest.mark.parametrize(
    ("faults", "host", "kind"),
    [
        pytest.param((), "mcr.example", None, id="fair"),
        pytest.param((NoDns(),), "mcr.example", FaultKind.NO_DNS, id="no DNS at all"),
        pytest.param((NoDns(host="*.lab"),), "mcr.example", None, id="another host"),
        pytest.param((EgressBlocked(host="mcr.*"),), "mcr.example", FaultKind.EGRESS_BLOCKED, id="blocked"),
        pytest.param((EgressBlocked(), NoDns()), "mcr.example", FaultKind.NO_DNS, id="both: the name comes first"),
        pytest.param((Slow(), Offline()), "mcr.example", None, id="other weather"),
    ],
)
def test_the_way_out_is_shut_by_dns_or_by_a_block(faults, host, kind):
    assert way_out(faults, host) is kind
