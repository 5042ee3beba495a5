"""Which signer a setting means: a key file, or by its scheme one whose key is elsewhere.

`keys.*`, `--key` and `GOLIVE_KEY` take `agent:`, `pkcs11:` and `exec:` as well as a path. Each of these
is imported only when it is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from golive_redis.config import keyfile
from golive_redis.config.keyfile import Ask
from golive_redis.config.yamlfile import beside, in_full
from golive_redis.errors import ConfigError
from golive_redis.masking import Masked
from golive_redis.records.envelope import SIGN_TIMEOUT_S, Signer
from golive_redis.records.keyset import Keyset

FD_VARIABLE = "GOLIVE_KEY_FD"
PASSPHRASE_FD_VARIABLE = "GOLIVE_KEY_PASSPHRASE_FD"  # noqa: S105  (the name of a variable)
NAME_FIELD = "{name}"
SCHEMES = ("agent", "pkcs11", "exec")
DAEMONS = frozenset({"heartbeat", "worker"})
DAEMON_PATIENCE_S = 1.0
"""Nobody stands beside a heartbeat or a worker to touch a token, and their loops wait for no other."""

# A principal's name as the keyset allows it; above all it cannot leave the folder of the keys.
_PRINCIPAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class KeySource(Masked, frozen=True):
    """Where the key of one role may come from, on this host.

    Attributes:
        environ: The environment.
        path: Of the configuration, whose folder relative paths are relative to.
        setting: Under `keys`, or None.
    """

    MASKED: ClassVar[frozenset[str]] = frozenset({"environ"})

    environ: Mapping[str, str]
    path: Path
    setting: str | None

    @property
    def override(self) -> str | None:
        """The variable that takes the place of every setting under `keys`, or None."""
        variables = (FD_VARIABLE, keyfile.KEY_VARIABLE)
        return next((name for name in variables if self.environ.get(name)), None)


def scheme_of(setting: str) -> str | None:
    """Return the scheme of a setting, or None where it is a path.

    Raises:
        ConfigError: It has a scheme that there is not.
    """
    found = _word_before_colon(setting)
    if not found:
        return None
    if found not in SCHEMES:
        raise ConfigError(
            f"no signer is called {found!r}",
            hint=f"there are {', '.join(f'{name}:' for name in SCHEMES)}; a file whose name has a "
            f"colon is written as ./{found}:...",
        )
    return found


def _word_before_colon(text: str) -> str:
    """Return `agent` of `agent:alice`; "" for a path, a PEM and a URL."""
    word, colon, rest = text.partition(":")
    plain = colon and len(word) > 1 and word.isascii() and word.isalnum() and word.islower()
    return word if plain and not rest.startswith("//") else ""


def on_terminal(what: str) -> str | None:
    """Ask for a passphrase on the terminal; None where there is none."""
    from golive_redis.config import passphrase  # noqa: PLC0415  (only where one is asked for)

    return passphrase.on_terminal(what)


def may_wait(source: KeySource, key: str | None) -> bool:
    """Tell whether a person, a device, a pipe or a program is asked for the key; never raises.

    Args:
        source: Of the role.
        key: What takes the place of it, or None.
    """
    if source.environ.get(PASSPHRASE_FD_VARIABLE):  # a pipe, which somebody has to fill
        return True
    if key is None and source.override is not None:
        text = source.environ[source.override]
        return source.override == FD_VARIABLE or bool(_word_before_colon(text))
    return bool(_word_before_colon(key or source.setting or ""))


def has_exposed_key(environ: Mapping[str, str]) -> bool:
    """Tell whether a variable holds a private key, not only the name of one."""
    text = environ.get(keyfile.KEY_VARIABLE, "")
    return bool(text) and _word_before_colon(text) not in SCHEMES


class Opener:
    """Opens the key of one role.

    Args:
        source: Where it may come from.
        keyset: Whose key it is.
        ask: Asks a person for a passphrase, or None.
        patience_s: The longest that a signature by somebody else is waited for.
    """

    def __init__(
        self, source: KeySource, keyset: Keyset, ask: Ask | None, patience_s: float
    ) -> None:
        self._source = source
        self._keyset = keyset
        self._ask = ask
        self._patience_s = patience_s

    def of_role(self, role: str, name: str | None) -> Signer:
        """Return the signer that is configured for a role, or that a variable puts in its place.

        Args:
            role: Names the setting to people.
            name: Takes the place of `{name}`, or None.

        Raises:
            ConfigError: There is none, or it cannot be used.
        """
        if self._source.override is not None:
            return self._of_variable(self._source.override)
        return self.of_configured(role, name)

    def of_configured(self, role: str, name: str | None) -> Signer:
        """Return the signer that is configured for a role, whatever a variable says.

        Raises:
            ConfigError: As `of_role`.
        """
        source = self._source
        setting = source.setting
        if setting is None:
            raise ConfigError(
                f"{source.path}: keys.{role} is not set",
                hint=f"name a key file or agent: under keys.{role}, or set {FD_VARIABLE}",
            )
        if NAME_FIELD in setting:
            if name is None or not _PRINCIPAL.fullmatch(name):
                raise ConfigError(
                    f"{source.path}: keys.{role} is {setting}; {name!r} cannot stand for {NAME_FIELD}",
                    hint="a name has letters, digits, dot, dash and underscore; at most 64",
                )
            # Replaced, not formatted: a path with other braces stays what it is.
            setting = setting.replace(NAME_FIELD, name)
        if scheme_of(setting) is None:
            setting = str(beside(source.path.parent, setting))
        return self.of_setting(setting)

    def of_setting(self, setting: str) -> Signer:
        """Return the signer that a setting means, a path relative to the working folder.

        Raises:
            ConfigError: It cannot be used, or its key is not in the keyset.
        """
        environ, keyset, patience_s = self._source.environ, self._keyset, self._patience_s
        scheme = scheme_of(setting)
        rest = setting.partition(":")[2]
        if scheme == "agent":
            from golive_redis.signers.agent import open_agent  # noqa: PLC0415  (only when used)

            return open_agent(rest, keyset, environ, patience_s=patience_s)
        if scheme == "exec":
            from golive_redis.signers.program import open_program  # noqa: PLC0415

            folder = self._source.path.parent
            return open_program(rest, keyset, folder, environ, patience_s=patience_s)
        if scheme == "pkcs11":
            from golive_redis.signers.hsm import open_token  # noqa: PLC0415

            return open_token(rest, keyset, self._pin, patience_s=patience_s)
        path = in_full(Path(setting))
        private = keyfile.read(path, environ, self._principals(), self._ask)
        return keyfile.signer(private, keyset, f"key file {path}")

    def _of_variable(self, variable: str) -> Signer:
        environ = self._source.environ
        if variable == FD_VARIABLE:
            from golive_redis.config.descriptor import read_once  # noqa: PLC0415

            pem = read_once(variable, environ)
        else:
            text = environ[variable]
            if _word_before_colon(text) in SCHEMES:  # any other text is no PEM, and is not shown
                return self.of_setting(text)
            pem = text.encode()
        private = keyfile.unlock(pem, variable, environ, self._principals(), self._ask)
        return keyfile.signer(private, self._keyset, variable)

    def _principals(self) -> list[str]:
        return sorted({key.principal for key in self._keyset.keys.values()})

    def _pin(self, principal: str) -> str | None:
        from golive_redis.config import passphrase  # noqa: PLC0415

        what = f"the token's key of {principal}"
        found = passphrase.offers(self._source.environ, [principal], what, self._ask)
        first = next(found, None)  # no second: a token counts wrong ones, and locks
        return first.reveal() if first is not None else None


def patience_of(role: str) -> float:
    """Return how long a signature by somebody else is waited for, in s."""
    return DAEMON_PATIENCE_S if role in DAEMONS else SIGN_TIMEOUT_S
