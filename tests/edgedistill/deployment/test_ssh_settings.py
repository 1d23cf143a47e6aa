"""What a user's own settings for a board must not change, as `ssh -G` itself understands our command line."""

import subprocess

from edgedistill.deployment.ssh import Connection
from optional_tools import needs

OWN = """Host board
  HostName 192.0.2.1
  User maker
  Port 2222
  ForwardAgent yes
  ForwardX11 yes
  LocalForward 9999 127.0.0.1:1
  PermitLocalCommand yes
  LocalCommand touch here
  RemoteCommand tmux
  RequestTTY force
  BatchMode no
  ConnectTimeout 500
  ServerAliveInterval 0
  ControlMaster auto
  ControlPath /tmp/own-%C
"""


def test_a_board_gets_no_agent_no_forwarding_and_no_terminal(tmp_path):
    """An untrusted board could use the user's keys through a forwarded agent; the others would spoil answers."""
    needs("ssh", "openssh-client")
    (tmp_path / "config").write_text(OWN)
    options = Connection("board", tmp_path / "config")._options()
    done = subprocess.run(["ssh", "-G", *options, "board"], capture_output=True, text=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key.lower(), value)
    own = {key: found[key] for key in ("hostname", "user", "port")}
    assert own == {"hostname": "192.0.2.1", "user": "maker", "port": "2222"}
    refused = ("forwardagent", "forwardx11", "permitlocalcommand", "requesttty", "controlmaster")
    assert [key for key in refused if found[key] not in ("no", "false")] == []
    assert found.get("remotecommand", "none") == found.get("controlpath", "none") == "none"
    assert "localforward" not in found or found["clearallforwardings"] == "yes"
    assert found["batchmode"] == "yes"
    assert 0 < int(found["connecttimeout"]) <= 60
    assert 0 < int(found["serveraliveinterval"]) * int(found["serveralivecountmax"]) <= 60
