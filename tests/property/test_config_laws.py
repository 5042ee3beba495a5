"""Laws of the configuration: every file is a configuration or a `ConfigError`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from golive_redis.config import config, yamlfile
from golive_redis.errors import ConfigError
from golive_redis.records.keyset import parse_keyset
from golive_redis.testing import Signers

TAGS = ["!!int ", "!!float ", "!!bool ", "!!set ", "!!timestamp ", "!!binary ", "&a ", "*a", "<<"]
WORDS = [": ", "- ", "~", "1", ".nan", "2026-01-01", "environment", "null"]
TOKENS = st.sampled_from([*"{}[]:,-?&*!|>%@`\"'#\n ", *TAGS, *WORDS])
TEXTS = st.lists(TOKENS, max_size=30).map("".join) | st.text(max_size=60)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
    max_leaves=10,
)


@pytest.fixture(
    scope="module",
    params=[getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader],
    ids=lambda loader: loader.__name__,
)
def file(request: pytest.FixtureRequest):
    """A file to write to, read by the C parser and by the Python one."""
    before, yamlfile._Loader = yamlfile._Loader, request.param
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "go_live.yaml"
    yamlfile._Loader = before


@given(raw=st.binary(max_size=60) | TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(raw=b'a: !!int ""')
@example(raw=b"!!timestamp x")
def test_whatever_a_file_holds_nothing_but_a_config_error_comes_out(file: Path, raw: bytes) -> None:
    """Row 48: binary, truncated, wrongly tagged."""
    file.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        config.load(file, environ={})
    assert str(file) in caught.value.message


@given(VALUES)
def test_whatever_a_keyset_file_holds_nothing_but_a_config_error_comes_out(value: object) -> None:
    """Row 38, 48."""
    for candidate in (value, {**Signers().keyset_file, "principals": value}):
        with pytest.raises(ConfigError):
            parse_keyset(candidate)
