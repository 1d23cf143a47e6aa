"""Enrol a board, or update its agent: code, key and kind of board, each replaced by one rename.

    ROOT/agents/ID.HEX/     the device code of this computer, agent.json, `sums`
    ROOT/agent -> agents/ID.HEX
    ROOT/trusted.d/NAME.pem
    ROOT/board.json         target and backend; once there, another target is refused

Anyone who can log in there can do this; what arrives later must be signed. With any umask of that login,
others cannot write where ROOT keeps keys, agents and releases afterwards.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from pathlib import Path

from edgedistill._version import __version__
from edgedistill.bundles.device_code import copy_device_code, device_code_sha256
from edgedistill.config.target import load_target
from edgedistill.core.files import sha256_of, write_bytes
from edgedistill.deployment.board import Board
from edgedistill.deployment.ssh import Upload
from edgedistill.deployment.streams import object_from_line
from edgedistill.errors import BoardError
from edgedistill.records.board_answers import AgentFile, BoardFile
from edgedistill.records.deployment import Enrolment

# sha256sum is asked before anything is renamed: a copy that was cut or altered becomes no agent.
_INSTALL = """
set -eu
umask 077
unset CDPATH
cd "$1"
mkdir -p incoming releases switches trusted.d
chmod go-w . incoming releases switches trusted.d agents
chmod -R go-w "$2"
for kept in trusted.d/*.pem revoked state.json state.copy.json board.json; do
    [ ! -f "$kept" ] || [ ! -O "$kept" ] || chmod go-w "$kept"
done
if [ -e "trusted.d/$3" ] && ! cmp -s "$2/$3" "trusted.d/$3"; then rm -rf "$2"; exit 4; fi
(cd "$2" && sha256sum --check --strict --quiet sums)
mv "$2/$3" trusted.d/
mv "$2/board.json" board.json
sync
ln -s "$2" agent.new
mv -T agent.new agent
for old in agents/*; do [ "$old" = "$2" ] || rm -rf "$old"; done
"""
_TAKEN = 4  # exit code: a key of that name is there, and it is another one


def enrol(board: Board, target: str, backend: str, key_name: str, public_pem: Path) -> Enrolment:
    """Put agent, key and board.json there; each replaces an earlier one only when it is whole.

    Args:
        target: a file in edgedistill/targets.
        backend: of edgedistill_device.engine.runners.BACKENDS; all but the first are stand-ins.
        key_name: of the file in trusted.d; keys of other names stay.
        public_pem: the public key.

    Raises:
        BoardError: it is enrolled as another board, trusts another key of that name, or refuses a step.
        SshError: the connection ended; run it again.
        RecipeError: no such target.
    """
    load_target(target)
    wanted = BoardFile(version=1, target=target, backend=backend)
    _check_pinned(board, wanted)
    with tempfile.TemporaryDirectory(prefix="edgedistill-enrol-") as place:
        stage = Path(place)
        copy_device_code(stage)
        code_sha256 = device_code_sha256()
        agent = AgentFile(version=1, edgedistill=__version__, sha256=code_sha256)
        write_bytes(stage / "agent.json", _line(agent))
        write_bytes(stage / "board.json", _line(wanted))
        shutil.copyfile(public_pem, stage / f"{key_name}.pem")
        sums = "".join(f"{sha256_of(path)}  {path.relative_to(stage)}\n" for path in _files(stage))
        write_bytes(stage / "sums", sums.encode())
        there = f"agents/{code_sha256[:16]}.{secrets.token_hex(4)}"
        uploads = [Upload(str(path.relative_to(stage)), path.stat().st_size) for path in _files(stage)]
        board.say(f"{board.machine.name}: {len(uploads)} files of the agent")
        board.machine.put(stage, uploads, f"{board.root}/{there}")
    command = ["sh", "-c", _INSTALL, "sh", board.root, there, f"{key_name}.pem"]
    answer = board.machine.run(command, board.say, 600)
    if answer.code == _TAKEN:
        raise BoardError(
            f"{board.machine.name}: another key of the name {key_name} is trusted there, perhaps that of "
            f"another workstation; nothing was changed: give yours another name, or to replace that "
            f"one, remove {board.root}/trusted.d/{key_name}.pem there"
        )
    if answer.code != 0:
        raise BoardError(f"{board.machine.name}: the agent was copied and not installed: {answer.error}; run it again")
    board.agent("serials", "--rebuild")  # a state.json that was damaged is mended; no serial is lowered
    return Enrolment(
        host=board.machine.name, target=target, backend=backend, key=key_name, agent=agent, doctor=board.doctor()
    )


def _line(record: AgentFile | BoardFile) -> bytes:
    """One line of JSON, so that `cat` and `Board.text` return it whole."""
    return json.dumps(record.to_json()).encode() + b"\n"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _check_pinned(board: Board, wanted: BoardFile) -> None:
    line = board.text(f"{board.root}/board.json")
    if line is None:
        return
    try:
        stored = object_from_line(line)
    except BoardError:
        board.say(f"{board.machine.name}: its board.json is damaged and is replaced")
        return
    remedy = f"to make it another board, remove {board.root}/board.json there"
    pinned = BoardFile.from_json(
        stored, f"{board.machine.name}: its board.json is not one of edgedistill_device; {remedy}", BoardError
    )
    for key, enrolled, expected in (
        ("target", pinned.target, wanted.target),
        ("backend", pinned.backend, wanted.backend),
    ):
        if enrolled != expected:
            raise BoardError(
                f"{board.machine.name}: it is enrolled with {key} {enrolled!r}, got {expected!r}; {remedy}"
            )
