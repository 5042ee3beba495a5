"""`agent:` asks a real ssh-agent, and says in a sentence what an agent may lack."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from golive_redis.errors import ConfigError, SignerError
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import peek, seal
from golive_redis.signers import agent as agents
from golive_redis.signers.agent import Agent, open_agent, shown
from golive_redis.signers.foreign import fingerprint
from golive_redis.testing import Signers
from kit.keystores import RealAgent, answering, owned

SIGNERS = Signers()
STRANGERS = Signers({"mallory": ["approver"]})


def key_of(name: str, signers: Signers = SIGNERS):
    return signers.signers[name]._private


def opened(agent: RealAgent, text: str = ""):
    return open_agent(text, SIGNERS.keyset, agent.environ, patience_s=30)


def test_a_key_of_the_agent_is_found_by_the_keyset_without_a_name(agent: RealAgent) -> None:
    agent.add("strangers", key_of("mallory", STRANGERS))
    agent.add("what ever", key_of("alice"))
    signer = opened(agent)
    assert (signer.principal, signer.keyid) == ("alice", SIGNERS.signers["alice"].keyid)
    assert signer.sign(b"bytes", 30) == SIGNERS.signers["alice"].sign(b"bytes", 1)


def test_a_record_that_an_agent_signed_is_one_like_any_other(agent: RealAgent) -> None:
    agent.add("a", key_of("rita"))
    ours = SIGNERS.revocation(9, by="rita")
    raw = seal(peek(ours, Revocation), opened(agent))
    assert raw == ours  # Ed25519 is deterministic
    assert SIGNERS.trust.revocation(raw).signers == {"rita"}


def test_of_several_keys_one_has_to_be_named(agent: RealAgent) -> None:
    agent.add("a", key_of("alice"))
    agent.add("b", key_of("bob"))
    with pytest.raises(ConfigError, match=r"meant: alice .*, bob ") as caught:
        opened(agent)
    assert caught.value.hint.endswith("such as alice")
    bob = SIGNERS.signers["bob"]
    for text in ("bob", bob.keyid[:12], fingerprint(bob.public)):
        assert opened(agent, text).principal == "bob"
    listed = agent.run("ssh-add", "-l").stdout
    assert fingerprint(bob.public) in listed


def test_a_key_that_the_agent_has_not_is_said_so(agent: RealAgent) -> None:
    with pytest.raises(SignerError, match="holds no Ed25519 key, or is locked"):
        opened(agent)
    agent.add("strangers", key_of("mallory", STRANGERS))
    with pytest.raises(ConfigError, match=r"the keyset lists none of the 1 Ed25519 key"):
        opened(agent)
    agent.add("a", key_of("alice"))
    with pytest.raises(ConfigError, match="holds no key of 'bob'; of the keyset it holds alice"):
        opened(agent, "bob")


def test_keys_of_other_algorithms_are_no_bother(agent: RealAgent) -> None:
    other = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    assert agent.run("ssh-add", str(owned(agent.folder / "rsa", other))).returncode == 0
    agent.add("a", key_of("alice"))
    assert opened(agent).principal == "alice"


def test_a_locked_agent_is_called_that_and_unlocking_is_the_hint(agent: RealAgent) -> None:
    agent.add("a", key_of("alice"))
    before = opened(agent)
    agent.lock()
    with pytest.raises(SignerError, match="or is locked") as caught:
        opened(agent)
    assert "ssh-add -X" in caught.value.hint
    with pytest.raises(SignerError, match="refused to sign"):
        before.sign(b"x", 30)


def test_a_key_that_wants_a_confirmation_is_refused_where_there_is_no_display(
    agent: RealAgent,
) -> None:
    agent.add("a", key_of("alice"), "-c")
    with pytest.raises(SignerError, match="ssh-agent refused to sign") as caught:
        opened(agent).sign(b"x", 30)
    assert "ssh-add -c" in caught.value.hint


def test_an_agent_that_is_gone_or_never_was_is_an_error_in_words(agent: RealAgent) -> None:
    agent.add("a", key_of("alice"))
    signer = opened(agent)
    agent.stop()
    with pytest.raises(SignerError, match="cannot be asked: "):
        signer.sign(b"x", 30)
    with pytest.raises(SignerError, match="cannot be asked: "):
        opened(agent)
    with pytest.raises(ConfigError, match="SSH_AUTH_SOCK is not set"):
        open_agent("", SIGNERS.keyset, {}, patience_s=1)


def test_a_socket_that_never_answers_is_given_up_in_time(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with answering(path, lambda _: None):
        agent = Agent(str(path))
        with pytest.raises(SignerError, match=r"has not answered within 0\.2 s"):
            agent.identities(0.2)
        with pytest.raises(SignerError, match=r"has not answered within 0\.2 s"):
            agent.sign(bytes(32), b"x", 0.2)


def test_a_socket_that_answers_byte_by_byte_has_no_more_time_than_others(tmp_path: Path) -> None:
    """Each byte restarts no clock: the limit is for the whole answer."""
    path = tmp_path / "s"

    def drip(link: socket.socket) -> None:
        try:
            link.sendall((200).to_bytes(4, "big"))
            for _ in range(200):
                time.sleep(0.05)
                link.sendall(b"\x0c")
        except OSError:
            pass

    with answering(path, drip), pytest.raises(SignerError, match="has not answered within"):
        Agent(str(path)).identities(0.5)


ANSWERS = {
    "nothing": b"",
    "cut": b"\0\0\0\x09\x0c",
    "empty": b"\0\0\0\0",
    "huge": b"\xff\xff\xff\xff\x0c",
    "another type": b"\0\0\0\x01\x05",
    "a count without keys": b"\0\0\0\x05\x0c\0\0\0\x02",
    "a string beyond the end": b"\0\0\0\x09\x0c\0\0\0\x01\xff\xff\xff\xff",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_what_is_no_agent_is_never_believed(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "s"

    def say(link: socket.socket) -> None:
        link.recv(4096)
        link.sendall(answer)
        link.shutdown(socket.SHUT_RDWR)

    with answering(path, say):
        for step in (lambda a: a.identities(5), lambda a: a.sign(bytes(32), b"x", 5)):
            with pytest.raises(SignerError):
                step(Agent(str(path)))


def test_what_an_agent_holds_is_shown_with_its_comments(agent: RealAgent) -> None:
    agent.add("mine", key_of("alice"))
    agent.add("strangers", key_of("mallory", STRANGERS))
    raws = {raw for raw, _ in shown("", agent.environ)}
    assert raws == {
        key_of("alice").public_key().public_bytes_raw(),
        key_of("mallory", STRANGERS).public_key().public_bytes_raw(),
    }
    prefix = STRANGERS.signers["mallory"].keyid[:10]
    assert len(shown(prefix, agent.environ)) == 1
    with pytest.raises(ConfigError, match="holds no key 'nobody'"):
        shown("nobody", agent.environ)


def test_it_signs_as_much_as_an_envelope_can_hold(agent: RealAgent) -> None:
    agent.add("a", key_of("alice"))
    assert opened(agent).max_message is None
    opened(agent).sign(b"x" * 200_000, 30)
    assert agents.MAX_MESSAGE_BYTES > 200_000
