"""The TPM's structures: what a real TPM wrote is read, and what no TPM writes is refused."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import IdentityRefused, InvalidInput
from edge.lab.ca import Authority
from edge.lab.tpm import SoftTpm
from edge.model.device import Attestation
from edge.policy.tpm import qualifying_data, quoted
from edge.policy.tpm_credential import make_credential
from edge.policy.tpm_ek import read_ek
from edge.policy.tpm_key import Alg, Attribute, read_ak
from edge.policy.tpm_quote import MAGIC, QUOTE, check_signature, read_quote
from edge.policy.tpm_wire import MAX_BYTES, number, sized

NONCE = "a-nonce-of-the-contract-test"
ZERO = "00" * 32
# Written by swtpm 0.7.1 and tpm2-tools 5.4; the attestation keys are of tpm2_createak, PCR 0 was extended once.
ECC_AK = (
    "AFgAIwALAAUAcgAAABAAGAALAAMAEAAgKPQazFSW3xqYgGYa+ilgEHTuOLNfQhcalQsJQglGndsAICI+SKsPQ5WL1Gi5c8a9F/yIx/R1cflDLOTj"
    "OLdVKzg1"
)
ECC_QUOTE = (
    "/1RDR4AYACIACz1oNSM/u9qks+jdGLEDtXcpJylX9ogLFJHzHn9a+vGAACD2SptkUqbxUrQKJEgiMWXKMcHnpy+qprFdTEbEr7qEEAAAAAAAAABa"
    "AAAAAQAAAAABIBkQIwAWNjYAAAABAAsDkwAAACBfjTGC2I81rvB3rZnJyCyxB2a/tt9Ce6NolRSk2wWtMA=="
)
ECC_SIGNATURE = "ABgACwAgznKfUq8fozYormgCzWhQyJAzuQ1Npkx4vEMdKhpVkDMAIBjunmruBnr2Tf3TT5wRV8hqASGL3kKzQuQWLkqUGS0K"
ECC_PCR0 = "8878b15a7d6a3a4f464e8f9f42591dbc0cf4bedea0ec309003d2b2ee53655ef8"
RSA_AK = (
    "ARgAAQALAAUAcgAAABAAFgALCAAAAAAAAQCsGrsMmB1z/rKVxtAn48gwE3Bdfug5/kFotolJFaahG+tccDROFBPwcXITZAWzmRbeyWNdb28EBGT4"
    "3BG/63PwebB1sFtockeAMk4G8RqChMG+3zLCXf0t34gz1UjALCdlEpzronIfXxMv1sDCqy0twkJvXVmoDeunhBzmMlrzZRzuSMs8vMStoZiw/c1B"
    "1JoKZH4qXmZrOecLDr9QugZMDdR+Zl/JamN4jocvzPDSp9n60lJnogtbI0Cq5zCXBT9hNQ+jtRCKFr11HO1N6Q4bFHzAxFnH7gd8XAjilWa5KNHR"
    "06J+QxHeuR3NE9HgoDumKjoeW0Yw4xNsmwXVQPRh"
)
RSA_QUOTE = (
    "/1RDR4AYACIAC5bR72FCa+qBRHeIStYMCGT/GB31FmZJ20eUsocdmuUfACD2SptkUqbxUrQKJEgiMWXKMcHnpy+qprFdTEbEr7qEEAAAAAAAAAG/"
    "AAAAAQAAAAABIBkQIwAWNjYAAAABAAsDkwAAACDHDK6o2Yln+D93blA+bDAARKYbxGjp+kGCjeoCMzacuw=="
)
RSA_SIGNATURE = (
    "ABYACwEAP0243hW+vNg056p/wl8FR6vrMMpWxFoDFXDX1hOAjN1Ejr4e1Q7VlX3jV26z1NeEOBC8qctOwmBsmK5HTxP2QfSK20YiR6k9Kop2xMtc"
    "c0ynMchv9X1ya/mVP3G3J186xSVozSQlmwxadiKuChg5BK+rsIpvqNsf+ZIB4W3g0ffl4sauTXla4zkOmalqsa/O3HOZYfK3DDdaZc9sa3+hEfll"
    "OvNyVyccQeHZQ/zBk/VBY34xnPN/2Yv2JhDhNvofIuA1Mi3AskjigNcihx1wL6ThTlNM172lCFx4C+U4UbOsu+hCwb3hdkKdz201cwEzbdVBr+AI"
    "SL6Nz5IggjIxAg=="
)
RSA_PCR0 = "dfb05b0f8ef7f253a3e2da3d8b2d14ffd928bba31f912ce36d3a929dc8b86d14"

REAL = [
    pytest.param(ECC_AK, ECC_QUOTE, ECC_SIGNATURE, ECC_PCR0, id="ecdsa"),
    pytest.param(RSA_AK, RSA_QUOTE, RSA_SIGNATURE, RSA_PCR0, id="rsapss"),
]
ATTRIBUTES = (
    Attribute.FIXED_TPM | Attribute.FIXED_PARENT | Attribute.SENSITIVE_DATA_ORIGIN | Attribute.RESTRICTED
) | Attribute.SIGN
POINT = base64.b64decode(ECC_AK)[-68:]


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def public(
    *,
    kind: int = Alg.ECC,
    name_alg: int = Alg.SHA256,
    attributes: int = ATTRIBUTES,
    scheme: bytes = number(Alg.NULL, 2) + number(Alg.ECDSA, 2) + number(Alg.SHA256, 2),
    rest: bytes = number(3, 2) + number(Alg.NULL, 2) + POINT,
) -> str:
    """A TPMT_PUBLIC, part by part."""
    return b64(number(kind, 2) + number(name_alg, 2) + number(attributes, 4) + sized(b"") + scheme + rest)


def quote(
    *,
    magic: int = MAGIC,
    kind: int = QUOTE,
    safe: int = 1,
    selection: bytes = number(1, 4) + number(Alg.SHA256, 2) + b"\3\1\0\0",
    end: bytes = b"",
) -> bytes:
    """A TPMS_ATTEST, part by part."""
    clock = number(7, 8) + number(2, 4) + number(3, 4) + number(safe, 1)
    return (
        number(magic, 4) + number(kind, 2) + sized(b"n") + sized(b"x" * 32) + clock + number(9, 8) + selection
    ) + sized(b"d" * 32) + end  # fmt: skip


def refused(read: Callable[[], object]) -> str:
    with pytest.raises(IdentityRefused) as refusal:
        read()
    assert refusal.value.where["reason"] == "attestation-invalid"
    return refusal.value.what


@pytest.mark.parametrize(("ak", "quote", "signature", "pcr0"), REAL)
def test_what_a_real_tpm_wrote_is_read(ak: str, quote: str, signature: str, pcr0: str) -> None:
    pcrs = {"sha256": {"0": pcr0, "1": ZERO, "4": ZERO, "7": ZERO}}
    told = Attestation(ek_certificate="", ak_public=ak, quote=quote, signature=signature, pcrs=pcrs)
    found, values = quoted(told)
    assert found.selection == tuple(("sha256", index) for index in (0, 1, 4, 7))
    assert found.extra_data == qualifying_data(NONCE)
    assert (found.clock.resets, found.clock.safe) == (1, True)
    assert values["sha256", 0].hex() == pcr0


def test_a_key_is_read_with_and_without_its_length() -> None:
    bare = b64(base64.b64decode(ECC_AK)[2:])
    assert read_ak(bare) == read_ak(ECC_AK)
    assert read_ak(ECC_AK).name[:2] == b"\0\x0b"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param(public(attributes=ATTRIBUTES & ~Attribute.RESTRICTED), "lacks restricted", id="unrestricted"),
        pytest.param(public(attributes=ATTRIBUTES & ~Attribute.FIXED_TPM), "lacks fixed-tpm", id="movable"),
        pytest.param(public(attributes=ATTRIBUTES & ~Attribute.FIXED_PARENT), "lacks fixed-parent", id="parent"),
        pytest.param(
            public(attributes=ATTRIBUTES & ~Attribute.SENSITIVE_DATA_ORIGIN),
            "lacks sensitive-data-origin",
            id="imported",
        ),
        pytest.param(public(attributes=ATTRIBUTES & ~Attribute.SIGN), "lacks sign", id="signs-not"),
        pytest.param(public(attributes=ATTRIBUTES | Attribute.DECRYPT), "may also decrypt", id="decrypts"),
        pytest.param(public(kind=8), "neither RSA nor ECC", id="kind"),
        pytest.param(public(name_alg=Alg.SHA1), "hash 0x0004", id="name-by-sha1"),
        pytest.param(public(scheme=number(Alg.AES, 2)), "storage key", id="storage"),
        pytest.param(public(scheme=number(Alg.NULL, 2) + number(Alg.NULL, 2)), "scheme 0x0010", id="scheme"),
        pytest.param(
            public(scheme=number(Alg.NULL, 2) + number(Alg.ECDSA, 2) + number(Alg.SHA1, 2)), "hash 0x0004", id="sha1"
        ),
        pytest.param(public(rest=number(1, 2) + number(Alg.NULL, 2) + POINT), "none of the curves", id="curve"),
        pytest.param(public(rest=number(3, 2) + number(Alg.NULL, 2) + POINT[:-1] + b"\0"), "no point", id="point"),
        pytest.param(public(rest=number(3, 2) + number(Alg.NULL, 2) + POINT + b"\0"), "1 bytes too many", id="tail"),
        pytest.param(public(rest=number(3, 2) + number(Alg.NULL, 2) + POINT[:-1]), "cut short", id="cut"),
        pytest.param(public(rest=number(3, 2) + number(Alg.NULL, 2) + number(999, 2)), "999 bytes", id="long-field"),
        pytest.param("not base64!", "is not base64", id="text"),
        pytest.param("é", "is not base64", id="not-ascii"),
        pytest.param(b64(bytes(MAX_BYTES + 1)), "at most 4096", id="long"),
        pytest.param("", "cut short", id="empty"),
    ],
)
def test_an_unfit_attestation_key_is_refused(text: str, what: str) -> None:
    told = refused(lambda: read_ak(text))
    assert what in told, told


@pytest.mark.parametrize(
    ("bits", "exponent", "modulus"),
    [
        pytest.param(1024, 0, b"\xff" * 128, id="short"),
        pytest.param(2048, 0, b"\x01" + b"\xff" * 255, id="not-as-long-as-told"),
        pytest.param(2048, 2, b"\xff" * 256, id="even-exponent"),
        pytest.param(2048, 0, b"\xff" * 255 + b"\xfe", id="even-modulus"),
    ],
)
def test_an_unfit_rsa_key_is_refused(bits: int, exponent: int, modulus: bytes) -> None:
    scheme = number(Alg.NULL, 2) + number(Alg.RSASSA, 2) + number(Alg.SHA256, 2)
    rest = number(bits, 2) + number(exponent, 4) + sized(modulus)
    assert "RSA" in refused(lambda: read_ak(public(kind=Alg.RSA, scheme=scheme, rest=rest)))


def test_a_quote_is_read_in_the_order_of_its_selection() -> None:
    selection = number(3, 4) + number(0x12, 2) + b"\1\0" + number(Alg.SHA384, 2) + b"\3\x80\0\x80"
    found = read_quote(quote(selection=selection + number(Alg.SHA256, 2) + b"\1\3"))
    assert found.selection == (("sha384", 7), ("sha384", 23), ("sha256", 0), ("sha256", 1))
    assert (found.clock.clock, found.clock.restarts, found.firmware_version) == (7, 3, 9)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        pytest.param(quote(magic=0), "not made by a TPM", id="magic"),
        pytest.param(quote(kind=0x8017), "no quote", id="type"),
        pytest.param(quote(safe=2), "clock is malformed", id="safe"),
        pytest.param(quote(selection=number(9, 4)), "at most 8", id="banks"),
        pytest.param(quote(selection=number(1, 4) + number(Alg.SHA256, 2) + b"\5"), "malformed", id="select-size"),
        pytest.param(quote(selection=number(1, 4) + number(0x12, 2) + b"\1\1"), "bank 0x0012", id="unknown-bank"),
        pytest.param(quote(selection=number(2, 4) + (number(Alg.SHA256, 2) + b"\1\1") * 2), "twice", id="twice"),
        pytest.param(quote(end=b"\0"), "too many", id="tail"),
        pytest.param(quote()[:-1], "cut short", id="cut"),
    ],
)
def test_what_is_no_quote_is_refused(content: bytes, what: str) -> None:
    assert what in refused(lambda: read_quote(content))


def test_a_signature_by_another_scheme_is_refused() -> None:
    content, ak = base64.b64decode(ECC_QUOTE), read_ak(ECC_AK)
    assert "another scheme" in refused(lambda: check_signature(RSA_SIGNATURE, content, ak))
    zero = b64(number(Alg.ECDSA, 2) + number(Alg.SHA256, 2) + sized(b"") + sized(b""))
    assert "not signed" in refused(lambda: check_signature(zero, content, ak))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(content: bytes) -> None:
    ak = read_ak(ECC_AK)
    refused(lambda: read_ak(b64(content)))
    refused(lambda: read_quote(content))
    refused(lambda: check_signature(b64(content), base64.b64decode(ECC_QUOTE), ak))


@given(st.text(max_size=80))
def test_no_text_raises_anything_but_a_refusal(text: str) -> None:
    refused(lambda: read_ak(text))
    refused(lambda: read_ek(text))
    refused(lambda: read_ek(f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"))


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.open(tmp_path_factory.mktemp("maker") / "maker", "Maker of TPMs")


@pytest.mark.parametrize("with_rsa", [pytest.param(False, id="ecc"), pytest.param(True, id="rsa")])
def test_a_credential_opens_only_in_its_tpm_and_for_its_key(maker: Authority, with_rsa: bool) -> None:
    tpm, other = (SoftTpm.made_by(maker, serial, with_rsa=with_rsa) for serial in ("1", "2"))
    made = make_credential(tpm.ek_certificate, tpm.ak_public, secret=b"s" * 32, seed=b"r" * 32)
    assert tpm.activate(made.id_object, made.secret) == b"s" * 32
    for ek, ak in ((other, tpm), (tpm, other)):
        foreign = make_credential(ek.ek_certificate, ak.ak_public, secret=b"s" * 32, seed=b"r" * 32)
        with pytest.raises(InvalidInput, match="another TPM"):
            tpm.activate(foreign.id_object, foreign.secret)


def test_two_credentials_have_nothing_in_common(maker: Authority) -> None:
    tpm = SoftTpm.made_by(maker, "1")
    one, two = (
        make_credential(tpm.ek_certificate, tpm.ak_public, secret=b"s" * 32, seed=seed * 32) for seed in (b"a", b"b")
    )
    assert one.secret != two.secret
    assert one.id_object != two.id_object
    assert one.ak_name == two.ak_name == read_ak(tpm.ak_public).name.hex()


@pytest.mark.parametrize(
    ("secret", "seed"), [pytest.param(b"s" * 33, b"r" * 32, id="secret"), pytest.param(b"s" * 32, b"r" * 31, id="seed")]
)
def test_a_credential_with_too_little_or_too_much_is_a_mistake(maker: Authority, secret: bytes, seed: bytes) -> None:
    tpm = SoftTpm.made_by(maker, "1")
    with pytest.raises(InvalidInput, match="16 to 32 bytes"):
        make_credential(tpm.ek_certificate, tpm.ak_public, secret=secret, seed=seed)
