"""Configuration: found, read, validated, with the line of whatever is wrong.

Found by `--config`, then `GOLIVE_CONFIG`, then `./config/go_live.yaml`. `GOLIVE_REDIS_URL`,
`GOLIVE_KEY_FD` and `GOLIVE_KEY` override. Paths in the file are relative to it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from golive_redis.config import keyfile, signing
from golive_redis.config.keyfile import Ask
from golive_redis.config.policy import Policy
from golive_redis.config.yamlfile import beside, in_full, located, read_yaml, validate
from golive_redis.errors import ConfigError, GoliveError
from golive_redis.masking import Masked
from golive_redis.records.envelope import Signer
from golive_redis.records.keyset import Keyset, parse_keyset
from golive_redis.records.trust import Trust
from golive_redis.store.connect import Address
from golive_redis.store.place import CLUSTER, UNIX, Place, read_place

if TYPE_CHECKING:
    from golive_redis.config.taken import Succession

DEFAULT_PATH = Path("config/go_live.yaml")
CONFIG_VARIABLE = "GOLIVE_CONFIG"
URL_VARIABLE = "GOLIVE_REDIS_URL"
# For a program; the command line has other ways to name the file, and says its own.
NO_CONFIG = (
    "start the program in the folder that holds config/, or name the file: "
    'Guard.open(".../config/go_live.yaml", ...), or $GOLIVE_CONFIG'
)
_NO_KEYSET = "copy it from another host of this fleet: a new one would be another fleet's"


class Config(Masked, frozen=True):
    """A validated configuration and where it came from."""

    MASKED: ClassVar[frozenset[str]] = frozenset({"environ"})

    policy: Policy
    path: Path
    environ: Mapping[str, str]
    lines: Mapping[str, int] = {}

    @property
    def policy_digest(self) -> str:
        """SHA-256 of the policy as JSON (keys sorted, no spaces) without what differs by host.

        Left out are `store`, `keys` and `state_dir`, `activation_enabled`, which an operator edits
        while workers run, and `audit`: who cosigns the ledger changes nothing for an order. Where
        workers and operator differ in it, they run by other rules.

        Raises:
            ConfigError: Names in the sections about evidence are no text.
        """
        try:
            value = msgspec.to_builtins(self.policy, order="sorted", str_keys=True)
        except TypeError as error:
            raise ConfigError(f"{self.path}: every name in it is text: {error}") from error
        for name in ("store", "keys", "state_dir", "activation_enabled", "audit"):
            del value[name]
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def url(self) -> str:
        """Redis URL, after the override."""
        return self.environ.get(URL_VARIABLE) or self.policy.store.url

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
        """Return a path from the file, relative to the folder in which the file was named.

        Raises:
            ConfigError: It begins with `~`, and this user has no home.
        """
        return beside(self.path.parent, name)

    def address(self) -> Address:
        """Return where the store is, with the login from the environment.

        Raises:
            ConfigError: The URL is none of ours, a password is missing or stands in the file, or the
                namespace does not fit a cluster. Fails closed: there is no connection then.
        """
        store, namespace = self.policy.store, self.policy.namespace
        files = {
            name: str(self.resolve(value))
            for name in ("ca", "cert", "key")
            if (value := getattr(store.tls, name, None)) is not None
        }
        try:
            addresses = self.state_dir
        except ConfigError:  # said by who keeps something there; a stop needs no folder
            addresses = None
        username, password = self._login()
        address = Address(
            self.url,
            username,
            password,
            **files,
            namespace=namespace,
            sentinel_username=store.sentinel.username,
            sentinel_password=self.sentinel_password,
            sentinel_tls=store.sentinel.tls,
            addresses=addresses,
            said_in="store.url" if self.url == store.url else f"${URL_VARIABLE}",
            functions=store.scripts == "function",
            default_user=self.policy.allows_default_user,
        )
        found = address.place()
        if found.scheme == CLUSTER and not address.keyspace.one_slot:
            raise ConfigError(
                f"{self.path}: a Redis Cluster would spread the keys of {namespace!r} over its nodes",
                hint=f'write the namespace with braces: namespace: "{{{namespace}}}"',
            )
        self._compare(found, address)
        return address

    def _login(self) -> tuple[str | None, str | None]:
        """Return user and password: a whole login in the variable takes the place of the settings.

        So an administrator may be named for one command. A half is no login: a user without a
        password must not get that of another, and what contradicts the settings is refused as before.
        """
        store = self.policy.store
        if self.url != store.url:
            with suppress(ValueError):  # said by `Address.place`
                found = read_place(self.url)
                if found.username is not None and found.password is not None:
                    return (found.username if store.username is not None else None), None
        return store.username, self.password

    def _compare(self, found: Place, address: Address) -> None:
        """Refuse a password in the file, and an override that leaves TLS out."""
        if self.url == self.policy.store.url:
            if found.password is not None:
                raise ConfigError(
                    f"{self.path}: store.url {address.shown!r} holds a password, and a file must not",
                    hint="leave it out, and name a variable under store.password_env; "
                    "or put the whole URL into $GOLIVE_REDIS_URL",
                )
            return
        if _wants_tls(self.policy.store.url) and not found.tls and found.scheme != UNIX:
            raise ConfigError(
                f"$GOLIVE_REDIS_URL {address.shown!r} is without TLS; store.url in {self.path} is with",
                hint="write rediss://, or ?ssl=true behind redis+sentinel:// and redis+cluster://",
            )

    def keyset(self) -> Keyset:
        """Load the keyset to use: the pinned one, or the newest that this host has taken since.

        Raises:
            ConfigError: It cannot be read, others may write it, it is not a keyset, or it is older than
                one that was taken. Fails closed: nothing is trusted.
        """
        base = self.pinned()
        if not self.has_taken(
            base
        ):  # the kill path: what reads steps is imported where there are some
            return base
        try:
            return self.succession(base).newest()
        except GoliveError as error:
            raise ConfigError(error.message, hint=error.hint) from error

    def has_taken(self, base: Keyset) -> bool:
        """Tell whether this host has taken a signed keyset from Redis, of this switch."""
        folder, policy = self.state_dir, self.policy
        stem = stem_of(base.fleet, policy.namespace, policy.environment)
        return folder is not None and os.path.lexists(folder / f"{stem}.0.json")

    def succession(self, base: Keyset) -> Succession:
        """Return what this host keeps of the signed keysets after that one."""
        from golive_redis.config.taken import Succession  # noqa: PLC0415  (rarely needed)

        return Succession(self.state_dir, base, self.policy.namespace, self.policy.environment)

    def pinned(self) -> Keyset:
        """Load the keyset file alone.

        Raises:
            ConfigError: It cannot be read, others may write it, or it is not a keyset. Fails closed:
                nothing is trusted.
        """
        path = self.resolve(self.policy.keys.keyset)
        value, lines = read_yaml(path, missing=_NO_KEYSET, pinned=True)
        try:
            return parse_keyset(value)
        except ConfigError as error:
            raise located(error, path, lines) from error

    def trust(self) -> Trust:
        """Return the keyset bound to this namespace and environment."""
        return Trust(self.keyset(), self.policy.namespace, self.policy.environment)

    def stop_trust(self) -> Trust:
        """Return the same for what only takes away: it does without what was taken, if that is no good.

        A stop never waits for a keyset and never fails by one: an older one knows fewer revokers.

        Raises:
            ConfigError: The keyset file cannot be used.
        """
        try:
            return self.trust()
        except ConfigError:
            return Trust(self.pinned(), self.policy.namespace, self.policy.environment)

    def signer(self, role: str, keyset: Keyset, *, name: str | None = None) -> Signer:
        """Open the key for a role: `operator`, `heartbeat`, `revoker` or `worker`.

        Args:
            role: Which of the settings under `keys`.
            keyset: Whose key it is.
            name: A principal, which takes the place of `{name}` in the setting.

        Raises:
            ConfigError: No key is configured, or it cannot be used.
        """
        opened = self._opener(keyset, role).of_role(role, name)
        keyfile.forbid_core_dumps()
        return opened

    def stop_signer(self, keyset: Keyset, key: str | None = None, ask: Ask | None = None) -> Signer:
        """Open the key that signs stops: `key`, else `keys.operator`, else `keys.revoker`.

        It leaves core dumps as they are, for that is an import: who calls this forbids them later.

        Args:
            keyset: Whose key it is.
            key: As `--key` names it, or None.
            ask: Asks a person for a passphrase, or None: then nobody is waited for.

        Raises:
            ConfigError: As `signer`.
        """
        role = "operator" if self.policy.keys.operator else "revoker"
        opener = self._opener(keyset, role, ask)
        return opener.of_setting(key) if key is not None else opener.of_role(role, None)

    def revoker_signer(self, keyset: Keyset) -> Signer:
        """Open the key under `keys.revoker`, also where a variable takes the place of other keys.

        Raises:
            ConfigError: As `signer`.
        """
        opened = self._opener(keyset, "revoker").of_configured("revoker", None)
        keyfile.forbid_core_dumps()
        return opened

    @property
    def has_exposed_key(self) -> bool:
        """True where a private key is in the environment, in which others can read it."""
        return signing.has_exposed_key(self.environ)

    def stop_may_wait(self, key: str | None = None) -> bool:
        """Tell whether the key that signs stops may keep one waiting: an agent, a device, a program."""
        role = "operator" if self.policy.keys.operator else "revoker"
        return signing.may_wait(self._source(role), key)

    def signer_from(
        self, key: str | Path, keyset: Keyset, ask: Ask | None = signing.on_terminal
    ) -> Signer:
        """Open a key as `--key` names it: a file, or what another scheme says.

        Raises:
            ConfigError: It cannot be used.
        """
        opened = self._opener(keyset, "operator", ask).of_setting(str(key))
        keyfile.forbid_core_dumps()
        return opened

    def _opener(
        self, keyset: Keyset, role: str, ask: Ask | None = signing.on_terminal
    ) -> signing.Opener:
        patience_s = signing.patience_of(role)
        return signing.Opener(self._source(role), keyset, ask, patience_s)

    def _source(self, role: str) -> signing.KeySource:
        return signing.KeySource(self.environ, self.path, getattr(self.policy.keys, role))


def stem_of(fleet: str, namespace: str, environment: str) -> str:
    """Return the name of the state file for what was taken of signed keysets.

    Switches may share a folder, and a new fleet begins a file of its own.
    """
    return f"keyset-{namespace.strip('{}')}@{environment}-{fleet[:8]}"


def _wants_tls(url: str) -> bool:
    try:
        return read_place(url).tls
    except ValueError:  # overridden, and so not used
        return False


def chosen(path: str | Path | None, environ: Mapping[str, str]) -> tuple[Path, str]:
    """Return which configuration is meant, in full, and what chose it; "" when `path` did.

    Args:
        path: That the caller named, or None.
        environ: The environment.
    """
    if path:
        return in_full(Path(path)), ""
    if named := environ.get(CONFIG_VARIABLE):
        return in_full(Path(named)), f"from ${CONFIG_VARIABLE}"
    return in_full(DEFAULT_PATH), "the default place"


def load(path: str | Path | None = None, *, environ: Mapping[str, str] | None = None) -> Config:
    """Find, read and validate the configuration.

    Args:
        path: From `--config`; None looks at `GOLIVE_CONFIG` and the default place.
        environ: The environment; the process's own by default.

    Raises:
        ConfigError: With file, line, what chose the file and what to write instead. Fails closed: there
            is no fallback.
    """
    environ = os.environ if environ is None else environ
    found, why = chosen(path, environ)
    try:
        value, lines = read_yaml(found, missing=NO_CONFIG)
        policy = validate(value, Policy, found, lines)
    except ConfigError as error:
        if not why:  # the caller knows what it named
            raise
        raise ConfigError(f"{error.message} ({why})", hint=error.hint) from error
    return Config(policy, found, dict(environ), lines)
