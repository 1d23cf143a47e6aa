"""This user's own folders."""

import os
import pwd


def home_folder():
    """Absolute path of the home folder, or None where there is none.

    $HOME, else the passwd entry. A container's user without an entry has HOME unset, empty or `/`;
    `os.path.expanduser` then gives "~" back, which becomes a folder of that name.
    """
    try:
        entry = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        entry = None
    for place in (os.environ.get("HOME"), entry):
        if place and os.path.isabs(place) and os.path.normpath(place).strip("/"):
            return place
    return None


def user_folder(variable, *below_home):
    """$variable (XDG: an absolute path or nothing), else that folder below the home; None where neither is."""
    place, home = os.environ.get(variable), home_folder()
    if place and os.path.isabs(place):
        return place
    return os.path.join(home, *below_home) if home else None
