"""The programs of the page on keeping keys sign, with stand-ins for the services' own commands.

Each stand-in takes exactly the arguments that the real command needs, and signs with a key of its own.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
import yaml

from golive_redis.errors import SignerError
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import peek, seal
from golive_redis.signers.program import open_program, parse
from golive_redis.testing import Signers
from kit.keystores import script, signing_with

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "keep-keys.md"
SIGNERS = Signers()
ALICE = SIGNERS.signers["alice"]._private
SIGN = signing_with(ALICE).replace("print(", "signature = (")

# What each service's command does, as far as its arguments say so.
STAND_INS = {
    "aws": f"""
import argparse
parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("service", choices=["kms"])
parser.add_argument("command", choices=["sign"])
parser.add_argument("--key-id", required=True)
parser.add_argument("--message", required=True)
parser.add_argument("--message-type", required=True, choices=["RAW"])
parser.add_argument("--signing-algorithm", required=True, choices=["ED25519_SHA_512"])
parser.add_argument("--query", required=True, choices=["Signature"])
parser.add_argument("--output", required=True, choices=["text"])
given = parser.parse_args()
assert given.key_id == "alias/golive-alice"
message = open(given.message.removeprefix("fileb://"), "rb").read()
if len(message) > 4096: sys.exit("Member must have length less than or equal to 4096")
{SIGN}
print(signature)
""",
    "gcloud": f"""
import argparse
parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("service", choices=["kms"])
parser.add_argument("command", choices=["asymmetric-sign"])
for name in ("keyring", "key", "version", "location", "input-file", "signature-file"):
    parser.add_argument("--" + name, required=True)
given = parser.parse_args()
assert (given.keyring, given.key, given.version) == ("golive", "alice", "1")
message = open(given.input_file, "rb").read()
{SIGN}
open(given.signature_file, "wb").write(base64.b64decode(signature))
""",
    "vault": f"""
_, command, field, path, text = sys.argv
assert (command, field, path) == ("write", "-field=signature", "transit/sign/golive-alice")
message = base64.b64decode(text.removeprefix("input="), validate=True)
{SIGN}
print("vault:v3:" + signature)
""",
}


def documented() -> dict[str, tuple[str, str]]:
    """By name of the program: its text, and the setting that the page gives for it."""
    found = {}
    for block in re.findall(
        r"```sh\n(.*?)```\n+```yaml\n(.*?)```", PAGE.read_text(), flags=re.DOTALL
    ):
        text, settings = block
        setting = yaml.safe_load(settings)["keys"]["operator"].removeprefix("exec:")
        found[Path(parse(setting).argv[0]).name] = (text, setting)
    return found


@pytest.fixture
def opened(tmp_path: Path):
    def make(name: str):
        text, setting = documented()[name]
        program = tmp_path / name
        program.write_text(text)
        program.chmod(0o755)
        service = {"sign-aws": "aws", "sign-gcp": "gcloud", "sign-vault": "vault"}[name]
        script(tmp_path / service, STAND_INS[service])
        setting = setting.replace(f"/usr/local/bin/{name}", shlex.quote(str(program)))
        environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
        return open_program(setting, SIGNERS.keyset, tmp_path, environ, patience_s=60)

    return make


def test_the_page_has_a_program_for_each_service() -> None:
    assert set(documented()) == {"sign-aws", "sign-gcp", "sign-vault"}


@pytest.mark.parametrize("name", ["sign-aws", "sign-gcp", "sign-vault"])
def test_a_program_of_the_page_signs_what_every_pod_verifies(
    opened, tmp_path: Path, name: str
) -> None:
    signer, ours = opened(name), SIGNERS.revocation(9, by="alice", reason="no 'quotes' $harm \n it")
    before = set(tmp_path.iterdir())
    assert seal(peek(ours, Revocation), signer) == ours
    assert set(tmp_path.iterdir()) == before, "it leaves no message behind"
    assert signer.sign(bytes(range(256)) * 8, 60)  # bytes that are no text


@pytest.mark.parametrize("name", ["sign-aws", "sign-gcp", "sign-vault"])
def test_a_program_of_the_page_says_what_its_service_complains_of(
    opened, tmp_path: Path, name: str
) -> None:
    signer = opened(name)
    for service in STAND_INS:
        script(tmp_path / service, "sys.exit('the token has expired')")
    with pytest.raises(SignerError, match="exited 1: the token has expired"):
        signer.sign(b"m", 60)


def test_the_limit_of_aws_stands_in_its_setting(opened) -> None:
    assert opened("sign-aws").max_message == 4096
    with pytest.raises(SignerError, match="less than or equal to 4096"):
        opened("sign-aws").sign(bytes(4097), 60)
