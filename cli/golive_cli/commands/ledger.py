"""What the commands on the ledger share: a connection that reads, and the keysets to judge by."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
import typer

from golive_cli.output import gone
from golive_redis.errors import ConfigError, RecordError

if TYPE_CHECKING:
    from golive_redis.audit.opening import Keysets
    from golive_redis.audit.selection import Found
    from golive_redis.audit.stream import KnownLog
    from golive_redis.config import Config
    from golive_redis.config.auditing import LogSettings
    from golive_redis.core.timing import Haste
    from golive_redis.records.keyset import Keyset
    from golive_redis.records.logpolicy import Policy
    from golive_redis.records.trust import Trust
    from golive_redis.store.store import Store

TIMEOUT_MS = 2_000.0
MAX_FILE_BYTES = 512 * 1024  # more than a policy, a checkpoint or a proof may be
KeysetFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--keyset",
        metavar="FILE",
        help="The keyset of another version; repeat it.",
        show_default=False,
    ),
]
SEVERAL_FROM = 5_000  # entries: with fewer, further processes take longer to start than to help
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="Whose signatures under a checkpoint count (tlog-policy); else the configuration says.",
        show_default=False,
    ),
]
YEAR_MS = 31_536_000_000  # a number of ms that is larger is an instant, and no duration


class Ledger(NamedTuple):
    """The ledger of a switch, to be read.

    Attributes:
        store: A connected store.
        trust: This host's keyset, namespace and environment.
        keysets: All that are at hand.
        policies: What this host's policy allows, by its digest.
        config: Of this host.
    """

    store: Store
    trust: Trust
    keysets: Keysets
    policies: Mapping[str, Haste]
    config: Config

    @property
    def state_dir(self) -> Path | None:
        """Where this host remembers what it has judged, or None."""
        return self.config.state_dir

    def log(self, policy: Path | None = None) -> Callable[[int], KnownLog]:
        """Return how to find what is known of the checkpoints of a generation of the ledger.

        Args:
            policy: By whose signatures; None takes the section `audit` of the configuration.

        Raises:
            ConfigError: The section or the file cannot be used.
        """
        from golive_redis.audit.checkpoints import LogReader
        from golive_redis.audit.seen import CheckpointMemory
        from golive_redis.audit.stream import KnownLog
        from golive_redis.config.auditing import LogSettings

        given = read_policy(policy) if policy is not None else None
        settings = LogSettings.of(self.config)

        def known(generation: int) -> KnownLog:
            found = given or log_policy(settings, generation, self.keysets)
            memory = CheckpointMemory(self.state_dir, self.trust, generation)
            return KnownLog(LogReader.by(found, self.keysets.by_version.values()), memory)

        return known


@contextmanager
def ledger(config: Path | None, keyset_files: Sequence[Path] = ()) -> Iterator[Ledger]:
    """Connect to the store of a configuration, with the right to read that its login has.

    Raises:
        ConfigError: The configuration or a keyset cannot be used.
        StoreError: Redis cannot be reached.
    """
    from golive_redis import config as configuration
    from golive_redis.audit.opening import Keysets
    from golive_redis.store.store import Store

    loaded = configuration.load(config)
    trust, address = loaded.trust(), loaded.address()
    given = [trust.keyset, *read_keysets(keyset_files)]
    link = address.connect(timeout_ms=TIMEOUT_MS, name="golive-audit")
    try:
        policies: dict[str, Haste] = {}
        with suppress(ConfigError):  # a mistake in a section about evidence hides no ledger
            policies = {loaded.policy_digest: loaded.policy.haste}
        store = Store(link, address.keyspace)
        steps = published(store, trust)
        newest = max([trust.keyset, *steps], key=lambda each: each.version)
        trust = msgspec.structs.replace(trust, keyset=newest)
        keysets = Keysets.of([*given, *steps], trust.namespace, trust.environment)
        yield Ledger(store, trust, keysets, policies, loaded)
    finally:
        link.close()


def log_settings(ledger: Ledger) -> LogSettings:
    """Return what the configuration says about the ledger as a log.

    Raises:
        ConfigError: The section `audit` is not good.
    """
    from golive_redis.config.auditing import LogSettings

    return LogSettings.of(ledger.config)


def log_policy(settings: LogSettings, generation: int, keysets: Keysets) -> Policy:
    """Return the policy for checkpoints of a generation of the ledger: `<origin>/2` is the second."""
    newest_first = sorted(keysets.by_version, reverse=True)
    return settings.of_generation(generation).policy(
        keysets.by_version[version] for version in newest_first
    )


def no_beginning() -> RecordError:
    """Return what to say of a ledger that begins where no note says that it does."""
    return RecordError(
        "the ledger in Redis does not begin with its first entry, and no note by a trusted key says why",
        hint="`golive audit verify` judges it; --keyset FILE adds the keyset of another version",
    )


def published(store: Store, trust: Trust) -> list[Keyset]:
    """Return the signed keysets that Redis keeps, as far as the roots of the one in use vouch for them.

    Those after it, too: a reader needs them for what was signed under them, and uses them for nothing.
    """
    if not trust.keyset.is_signed:
        return []
    from golive_redis.delivery import keysets
    from golive_redis.records.rotation import parse_payload

    later = keysets.follow(store, trust, lambda _: None).steps
    return [*keysets.past(store, trust.keyset), *(parse_payload(step.payload) for step in later)]


def read_keysets(files: Iterable[Path]) -> list[Keyset]:
    """Return the keysets of some files.

    Raises:
        ConfigError: One cannot be read, or is none.
    """
    from golive_redis.config.yamlfile import in_full, located, read_yaml
    from golive_redis.records.keyset import parse_keyset
    from golive_redis.records.rotation import parse_payload

    out = []
    for file in files:
        path = in_full(file)
        value, lines = read_yaml(path, missing="is the path right?")
        try:
            if isinstance(value, dict) and isinstance(value.get("keyset"), str):  # a draft
                out.append(parse_payload(value["keyset"].encode()))
                continue
            out.append(parse_keyset(value))
        except RecordError as error:
            raise ConfigError(f"{path}: {error.message}", hint=error.hint) from error
        except ConfigError as error:
            raise located(error, path, lines) from error
    return out


def read_policy(file: Path) -> Policy:
    """Return the policy in a file of C2SP tlog-policy.

    Raises:
        ConfigError: It cannot be read, or is none.
    """
    from golive_redis.config.yamlfile import in_full
    from golive_redis.records.logpolicy import parse_policy

    path = in_full(file)
    raw = read_file(path)
    try:
        return parse_policy(raw)
    except RecordError as error:
        raise ConfigError(
            f"{path}: {error.message}", hint="`golive audit policy` prints the policy of a fleet"
        ) from error


def read_file(path: Path) -> bytes:
    """Return what is in a file, as far as anything of ours is long.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="is the path right?") from error


def signatures(found: Found, keysets: Keysets) -> list[tuple[str, str | None]]:
    """Return key id and principal of each signature; None for a key that the keyset does not know.

    The keyset is the one that the entry names, or the newest where that is not at hand.
    """
    from golive_redis.records.envelope import decode

    try:
        pairs = decode(found.entry.envelope).signatures
    except RecordError:
        return []
    version = found.opened.record.keyset_version if found.opened else keysets.newest
    keys = keysets.by_version.get(version, keysets.by_version[keysets.newest]).keys
    return [(keyid, keys[keyid].principal if keyid in keys else None) for keyid, _ in pairs]


def reader_is_gone() -> bool:
    """Tell whether nobody reads stdout any more."""
    return sys.stdout is None or sys.stdout.fileno() in gone
