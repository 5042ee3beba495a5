"""Configuration: found, read, validated, with the line of whatever is wrong.

Found by `--config`, then `GOLIVE_CONFIG`, then `./config/go_live.yaml`. `GOLIVE_REDIS_URL`,
`GOLIVE_KEY` (PEM) and `GOLIVE_KEY_PASSPHRASE` override. Paths in the file are relative to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import msgspec
import yaml

from golive_redis.config import keyfile
from golive_redis.config.policy import Policy
from golive_redis.errors import ConfigError
from golive_redis.records.envelope import Signer
from golive_redis.records.keyset import Keyset, parse_keyset
from golive_redis.records.trust import Trust

if TYPE_CHECKING:
    from golive_redis.checks.conditions import Conditions

DEFAULT_PATH = Path("config/go_live.yaml")
MAX_FILE_BYTES = 1024 * 1024
MAX_NODES = 50_000
NAME_FIELD = "{name}"

# A principal's name as the keyset allows it; above all it cannot leave the folder of the keys.
_PRINCIPAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_T = TypeVar("_T")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Config(msgspec.Struct, frozen=True):
    """A validated configuration and where it came from."""

    policy: Policy
    path: Path
    environ: Mapping[str, str]
    lines: Mapping[str, int] = {}

    @property
    def policy_digest(self) -> str:
        """SHA-256 of the policy as JSON (keys sorted, no spaces) without what differs by host.

        Left out are `store`, `keys` and `state_dir`, and `activation_enabled`, which an operator edits
        while workers run. Where workers and operator differ in it, they do not mean the same switch.

        Raises:
            ConfigError: Names in the sections about evidence are no text.
        """
        try:
            value = msgspec.to_builtins(self.policy, order="sorted", str_keys=True)
        except TypeError as error:
            raise ConfigError(f"{self.path}: every name in it is text: {error}") from error
        for name in ("store", "keys", "state_dir", "activation_enabled"):
            del value[name]
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def evidence(self) -> Conditions:
        """Return the sections about checks, triggers, windows and promotions.

        Raises:
            ConfigError: With the line. Fails closed: whoever needs them does not go on.
        """
        # Here and not above: `golive revoke` needs none of it and does not wait for it.
        from golive_redis.checks.conditions import Conditions  # noqa: PLC0415

        policy = self.policy
        sections = {
            "checks": policy.checks,
            "triggers": policy.triggers,
            "windows": policy.windows,
            "promotions": policy.promotions,
        }
        for field in msgspec.structs.fields(Conditions):
            _, kind = get_args(field.type)
            section = validate(
                sections[field.name], dict[str, Any], self.path, self.lines, at=f"$.{field.name}"
            )
            # One by one first: of several entries msgspec does not say which one is wrong.
            for name, value in section.items():
                validate(value, kind, self.path, self.lines, at=f"$.{field.name}.{name}")
        found = validate(sections, Conditions, self.path, self.lines)
        if found.windows:
            self._check_zones(found)
        return found

    def _check_zones(self, evidence: Conditions) -> None:
        from golive_redis.checks import windows  # noqa: PLC0415  (as above)

        for name, window in evidence.windows.items():
            if window.time_zone is None:
                continue
            try:
                windows.zone(window.time_zone)
            except ConfigError as error:
                line = _line(f"$.windows.{name}.time_zone", self.lines)
                message = f"{self.path}:{line}: windows.{name}: {error.message}"
                raise ConfigError(message, hint=error.hint) from error

    @property
    def url(self) -> str:
        """Redis URL, after the override."""
        return self.environ.get("GOLIVE_REDIS_URL") or self.policy.store.url

    @property
    def password(self) -> str | None:
        """Redis password, from the variable that `store.password_env` names.

        Raises:
            ConfigError: The variable is named and not set. Fails closed: no login as somebody else.
        """
        return self._secret("store.password_env", self.policy.store.password_env)

    @property
    def sentinel_password(self) -> str | None:
        """The Sentinels' password, from the variable that `store.sentinel.password_env` names.

        Raises:
            ConfigError: As `password`.
        """
        return self._secret("store.sentinel.password_env", self.policy.store.sentinel.password_env)

    def _secret(self, setting: str, variable: str | None) -> str | None:
        if variable is None:
            return None
        if variable not in self.environ:
            raise ConfigError(
                f"{self.path}: {setting} names {variable}, which is not set",
                hint=f"export {variable}=...",
            )
        return self.environ[variable]

    @property
    def state_dir(self) -> Path | None:
        """Folder of the state files, or None when nothing is kept over restarts."""
        return self.resolve(self.policy.state_dir) if self.policy.state_dir else None

    def resolve(self, name: str) -> Path:
        """Return a path from the file, relative to the file's own folder."""
        # Not Path.resolve(): before Python 3.13 it raises RuntimeError on a loop of links, and a
        # state folder that cannot be used must close a guard, not crash its worker.
        return Path(os.path.realpath(self.path.parent / Path(name).expanduser()))

    def keyset(self) -> Keyset:
        """Load the pinned keyset.

        Raises:
            ConfigError: It cannot be read or is not a keyset. Fails closed: nothing is trusted.
        """
        path = self.resolve(self.policy.keys.keyset)
        value, lines = read_yaml(path)
        try:
            return parse_keyset(value)
        except ConfigError as error:
            raise _located(error, path, lines) from error

    def trust(self) -> Trust:
        """Return the keyset bound to this namespace and environment."""
        return Trust(self.keyset(), self.policy.namespace, self.policy.environment)

    def signer(self, role: str, keyset: Keyset, *, name: str | None = None) -> Signer:
        """Load the private key for a role: `operator`, `heartbeat`, `revoker` or `worker`.

        Args:
            role: Which of the settings under `keys`.
            keyset: Who the key speaks for.
            name: A principal, which takes the place of `{name}` in the configured path.

        Raises:
            ConfigError: No key is configured, or it cannot be used.
        """
        pem = self.environ.get(keyfile.KEY_VARIABLE)
        if pem:
            private = keyfile.parse_pem(
                pem.encode(), self.environ.get(keyfile.PASSPHRASE_VARIABLE), keyfile.KEY_VARIABLE
            )
            return keyfile.signer(private, keyset, keyfile.KEY_VARIABLE)
        file: str | None = getattr(self.policy.keys, role)
        if file is None:
            raise ConfigError(
                f"{self.path}: keys.{role} is not set",
                hint=f"name a key file under keys.{role}, or put the PEM into {keyfile.KEY_VARIABLE}",
            )
        if NAME_FIELD in file:
            if name is None or not _PRINCIPAL.fullmatch(name):
                raise ConfigError(
                    f"{self.path}: keys.{role} is {file}; {name!r} cannot stand for {NAME_FIELD}",
                    hint="a name has letters, digits, dot, dash and underscore; at most 64",
                )
            # Replaced, not formatted: a path with other braces stays what it is.
            file = file.replace(NAME_FIELD, name)
        return self.signer_from(self.resolve(file), keyset)

    def signer_from(self, path: Path, keyset: Keyset) -> Signer:
        """Load the private key from a file."""
        return keyfile.signer(keyfile.read(path, self.environ), keyset, f"key file {path}")


def load(path: str | Path | None = None, *, environ: Mapping[str, str] | None = None) -> Config:
    """Find, read and validate the configuration.

    Args:
        path: From `--config`; None looks at `GOLIVE_CONFIG` and the default place.
        environ: The environment; the process's own by default.

    Raises:
        ConfigError: With file, line and what to write instead. Fails closed: there is no fallback.
    """
    environ = os.environ if environ is None else environ
    found = Path(path or environ.get("GOLIVE_CONFIG") or DEFAULT_PATH)
    value, lines = read_yaml(found)
    return Config(validate(value, Policy, found, lines), found.resolve(), dict(environ), lines)


def read_yaml(path: Path) -> tuple[Any, dict[str, int]]:
    """Read a YAML file strictly: one document, no duplicate keys.

    Returns:
        The value, and the line of each node by its path (`$.store.url`).

    Raises:
        ConfigError: Unreadable, empty, too large, not YAML, or a duplicate key.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        hint = "`golive init` makes one" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(f"{path}: {error.strerror}", hint=hint) from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: over {MAX_FILE_BYTES} bytes")
    loader = None
    try:
        loader = _Loader(raw)
        node = loader.get_single_node()
        if node is None:
            raise ConfigError(f"{path}: empty", hint="`golive init` makes one")
        lines: dict[str, int] = {}
        _index(node, "$", lines, path)
        return loader.construct_document(node), lines
    # PyYAML answers a wrongly tagged scalar (`!!int ""`, `!!bool x`) with whatever it ran into.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{path}{where}: not YAML: {problem}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _index(node: yaml.Node, at: str, lines: dict[str, int], path: Path) -> None:
    if at in lines:
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: {at[2:]} is given twice")
    if len(lines) >= MAX_NODES:  # a few lines of nested aliases unfold into billions of nodes
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: over {MAX_NODES} values")
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _index(value, f"{at}.{key.value}", lines, path)
            lines[f"{at}.{key.value}"] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            _index(value, f"{at}[{number}]", lines, path)


def validate(
    value: Any, kind: type[_T], path: Path, lines: Mapping[str, int], *, at: str = "$"
) -> _T:
    """Turn a YAML value into `kind`.

    Args:
        value: As parsed.
        kind: What it must be.
        path: Of the file.
        lines: Line of each node by its path.
        at: Path of the value.

    Raises:
        ConfigError: With the line, and the nearest known name for an unknown key.
    """
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise _explain(error, kind, path, lines, at) from error


def _explain(
    error: Exception, kind: type, path: Path, lines: Mapping[str, int], base: str
) -> ConfigError:
    message, _, inner = str(error).partition(" - at `")
    # msgspec writes "`$.a.b`", or for a key of an object "`key` in `$.a`".
    at = base + inner.removeprefix("key` in `").rstrip("`").removeprefix("$")
    unknown = re.search(r"unknown field `(.*)`", message)
    if unknown is None:
        # A rule over several settings names the one to change first: `timing is one of ...`, or
        # `checks.NAME: ...`.
        word = re.match(r"[a-z_]+(\.[A-Za-z0-9._-]+)?", message)
        where = f"{path}:{_line(f'{at}.{word[0]}' if word else at, lines)}"
        name = at[2:] if at != "$" else ""
        # YAML reads 08:00 as text, and 22:00 as a number of minutes.
        quotes = "Expected `str" in message and message.endswith(("got `int`", "got `float`"))
        hint = "write it in quotes" if quotes else ""
        return ConfigError(f"{where}: {name + ': ' if name else ''}{message}", hint=hint)
    name = unknown.group(1)
    line = _line(f"{at}.{name}", lines)
    from difflib import get_close_matches  # noqa: PLC0415  (3 ms that only an error pays)

    close = get_close_matches(name, _field_names(kind), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else "remove it"
    return ConfigError(f"{path}:{line}: unknown key {name!r}", hint=hint)


def _line(at: str, lines: Mapping[str, int]) -> int:
    """Return the line of a node, or of the nearest one around it that can be told.

    msgspec writes a key of a dict as `[...]`: where several keys fit, nobody can tell which.
    """
    while at != "$":
        pattern = re.escape(at).replace(re.escape("[...]"), r"\.[^.\[]+")
        fits = [line for node, line in lines.items() if re.fullmatch(pattern, node)]
        if len(fits) == 1:
            return fits[0]
        at = at[: max(at.rfind("."), at.rfind("["))] or "$"
    return lines.get("$", 1)


def _field_names(kind: Any) -> list[str]:
    """Return the names of all fields of a type, also of those inside its lists, dicts and unions."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = msgspec.structs.fields(kind)
        return [field.encode_name for field in fields] + [
            name for field in fields for name in _field_names(field.type)
        ]
    return [name for inner in getattr(kind, "__args__", ()) for name in _field_names(inner)]


def _located(error: ConfigError, path: Path, lines: Mapping[str, int]) -> ConfigError:
    at = error.message.rpartition(" - at `")[2].rstrip("`")
    where = f"{path}:{_line(at, lines)}" if at.startswith("$") else str(path)
    return ConfigError(f"{where}: {error.message}", hint=error.hint)
