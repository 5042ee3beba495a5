"""`golive acl`: the Redis user that a role needs, and the proof of what each user may."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.exits import Exit, UsageError
from golive_cli.options import AsJson, ConfigFile
from golive_cli.output import Output, Painted, place
from golive_cli.results import AclCheckResult, AclResult, AclTrial, AclUserChecked
from golive_redis.store.acl import Role

if TYPE_CHECKING:
    from golive_redis.operator.logins import Proof

HEADERS = ["role", "command", "expected", "found"]
_ROLES = ", ".join(Role)

app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)


@app.callback()
def acl(
    context: typer.Context,
    role: Annotated[
        Role | None,
        typer.Option("--role", help="Whose Redis user.", show_default=False),
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Bind it to one worker id or heartbeat; of others, a part of the user's name.",
            show_default=False,
        ),
    ] = "",
    password_env: Annotated[
        str,
        typer.Option(
            "--password-env",
            metavar="VARIABLE",
            help="Add the hash of the password in this variable.",
            show_default=False,
        ),
    ] = "",
    setuser: Annotated[
        bool,
        typer.Option("--setuser", help="Print the ACL SETUSER command, for redis-cli."),
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Print the line of the Redis user that a role needs, for the connected server.

    The line goes into the server's ACL file. Without a password nobody can log in with it. Changes
    nothing.
    """
    if context.invoked_subcommand is not None:
        if role or name or password_env or setuser or config is not None or as_json:
            raise UsageError(
                f"options of {context.invoked_subcommand} stand after it",
                hint=f"golive acl {context.invoked_subcommand} --help",
            )
        return
    if role is None:
        raise UsageError("--role is missing", hint=f"they are {_ROLES}")
    _print_line(role, name, password_env, setuser=setuser, config=config, as_json=as_json)


def _print_line(
    role: Role,
    name: str,
    password_env: str,
    *,
    setuser: bool,
    config: ConfigFile,
    as_json: bool,
) -> None:
    from golive_redis import config as configuration
    from golive_redis.operator import logins
    from golive_redis.store.rosters import is_name

    if name and not is_name(name):
        raise UsageError(
            f"{name!r} is not a name", hint="letters, digits, dot, dash and underscore; at most 64"
        )
    more: tuple[str, ...] = ()
    if password_env:
        password = os.environ.get(password_env)
        if not password:
            raise UsageError(
                f"the variable {password_env} is not set", hint=f"export {password_env}=..."
            )
        more = (f"#{hashlib.sha256(password.encode()).hexdigest()}",)
    setup = configuration.load(config)
    user, server = logins.line_for(setup, role, name=name, more=more)
    out = Output(as_json=as_json)
    policy = setup.policy
    out.result(
        AclResult(
            policy.environment,
            policy.namespace,
            role,
            user.user,
            user.line,
            user.command,
            server.shown,
            server.cluster,
        )
    )
    out.line(user.command if setuser else user.line)
    if not more and not as_json:
        out.note(
            f"{user.user} has no password yet: add `#` and its SHA-256, or run this again with "
            "--password-env"
        )


@app.command("check")
def check(
    role: Annotated[
        list[Role] | None,
        typer.Option("--role", help="This role alone; repeat it for more.", show_default=False),
    ] = None,
    user: Annotated[
        list[str] | None,
        typer.Option(
            "--user",
            metavar="ROLE=USER",
            help="A user that is not called golive-ROLE; repeat it for more.",
            show_default=False,
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Log in as each user, and prove what it may and what it may not.

    Passwords come from GOLIVE_REDIS_PASSWORD_WORKER, _HEARTBEAT, _OPERATOR, _AUDITOR and
    _ARCHIVIST, and from the configuration. Nothing is changed. Exits 1 on any difference.
    """
    from golive_redis import config as configuration
    from golive_redis.operator import logins

    setup = configuration.load(config)
    proofs = logins.prove(setup, only=role or (), users=_users(user or ()))
    out = Output(as_json=as_json)
    policy = setup.policy
    wrong = sum(proof.differences for proof in proofs)
    out.result(
        AclCheckResult(
            policy.environment, policy.namespace, not wrong, [_checked(proof) for proof in proofs]
        )
    )
    out.table(
        HEADERS,
        [
            [
                str(proof.role),
                trial.command,
                str(trial.expected),
                Painted(f"{trial.found}: {trial.why}", "red")
                if trial.differs
                else str(trial.found),
            ]
            for proof in proofs
            for trial in proof.trials
        ],
    )
    for proof in proofs:
        verdict = (
            Painted("DIFFERS", "red") if proof.differences else Painted("AS IT SHOULD BE", "green")
        )
        out.line(
            verdict,
            f" {proof.user}: {len(proof.trials)} commands, {proof.differences} different ({proof.way})",
        )
    where = place(policy.environment, policy.namespace)
    out.line(f"{where}; nothing was changed")
    return Exit.REFUSED if wrong else Exit.DONE


def _users(words: list[str] | tuple[str, ...]) -> dict[Role, str]:
    found: dict[Role, str] = {}
    for word in words:
        name, sign, user = word.partition("=")
        if name not in list(Role) or not sign or not user:
            raise UsageError(f"{word!r} is not ROLE=USER", hint=f"roles are {_ROLES}")
        found[Role(name)] = user
    return found


def _checked(proof: Proof) -> AclUserChecked:
    return AclUserChecked(
        proof.role,
        proof.user,
        str(proof.way),
        proof.differences,
        [AclTrial(t.command, t.expected, t.found, t.why) for t in proof.trials],
    )
