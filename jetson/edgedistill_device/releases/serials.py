"""Serials rise: an older bundle is not accepted again, whichever trusted key signed it.

The rule holds over all keys that are trusted: a lower serial than the highest that was accepted of
any of them is refused, and so is an equal one of another bundle. A revoked or removed key has no
say any more, so that a thief cannot lock the board with a serial of the year 2100.
"""

from edgedistill_device.errors import JetsonError, ReleaseError
from edgedistill_device.releases.root import (
    COPY,
    RELEASES,
    Serials,
    highest_serials,
    ids_in,
    locked,
    read_serials,
    write_serials,
)
from edgedistill_device.releases.signature import trusted_keys
from edgedistill_device.releases.store import signed_manifest
from edgedistill_device.releases.switch import active, writing

_ASK = "needs --allow-downgrade"


def require_newer(root, release, manifest, key_id):
    """Refuse a bundle that is older than what was accepted here.

    Raises:
        ReleaseError: older, or as old as another one, or withdrawn.
    """
    serials = read_serials(root)
    if release in serials.withdrawn:
        raise ReleaseError("%s was withdrawn on this board; to take it again %s" % (release, _ASK))
    trusted = set(trusted_keys(root)) | {key_id}
    counted = {key: serial for key, serial in serials.highest.items() if key in trusted}
    highest = max([-1] + list(counted.values()))
    of_key = "the same key" if counted.get(key_id) == highest else "another trusted key"
    if manifest.serial < highest:
        raise ReleaseError(
            "the bundle has serial %d, and %d of %s was accepted before; an older one %s"
            % (manifest.serial, highest, of_key, _ASK)
        )
    if manifest.serial == highest:
        others = {serials.ids.get(key) for key, serial in counted.items() if serial == highest}
        if release not in others:
            same = others - {None} or _with_serial(root, highest) - {release}
            if same:
                raise ReleaseError(
                    "the bundle has serial %d, as %s that was accepted before; make the bundle again, or it %s"
                    % (highest, sorted(same)[0], _ASK)
                )


def rebuild(root):
    """Write the serials again from state.json, its copy and the releases here; none is ever lowered.

    The remedy for a damaged state.json.

    Returns:
        JSON-able: highest_serial, withdrawn.
    """
    with locked(root):
        highest, ids, withdrawn = {}, {}, []
        for read in (read_serials, lambda root: read_serials(root, COPY)):
            try:
                serials = read(root)
            except ReleaseError:  # this is what is mended
                continue
            withdrawn += [release for release in serials.withdrawn if release not in withdrawn]
            for key, serial in serials.highest.items():
                _raise_to(highest, ids, key, serial, serials.ids.get(key))
        for release, (manifest, key) in _signed(root):
            if release not in withdrawn:
                _raise_to(highest, ids, key, manifest.serial, release)
        return _written(root, Serials(highest, ids, withdrawn))


def lower_to_current(root):
    """Make the active release the newest: the remedy after a workstation's clock was far ahead.

    What had a higher serial is withdrawn: to come back it has to be asked for like an older one.

    Returns:
        JSON-able: highest_serial, withdrawn.

    Raises:
        ReleaseError: no release is served, or one that is not proven.
    """
    with writing(root):
        live = active(root)
        if live is None:
            raise ReleaseError("no release is served; activate the one that is to be the newest first")
        manifest, _ = signed_manifest(root, RELEASES, live.current)
        serials, floor = read_serials(root), manifest.serial
        higher = [serials.ids.get(key) for key, serial in serials.highest.items() if serial > floor]
        higher += [release for release, (other, _) in _signed(root) if other.serial > floor]
        withdrawn = sorted(set(serials.withdrawn) | set(higher) - {None})
        ids = {key: release for key, release in serials.ids.items() if serials.highest.get(key, 0) <= floor}
        highest = {key: min(serial, floor) for key, serial in serials.highest.items()}
        return _written(root, Serials(highest, ids, withdrawn))


def _written(root, serials):
    write_serials(root, serials)
    return {"verb": "serials", "highest_serial": highest_serials(root), "withdrawn": serials.withdrawn}


def _raise_to(highest, ids, key, serial, release):
    if serial > highest.get(key, -1):
        highest[key], ids[key] = serial, release
    elif serial == highest[key] and ids.get(key) is None:
        ids[key] = release


def _with_serial(root, serial):
    return {release for release, (manifest, _) in _signed(root) if manifest.serial == serial}


def _signed(root):
    """[(release, (Manifest, key id))] of the releases here whose signature is valid."""
    releases = []
    for release in ids_in(root, RELEASES):
        try:
            releases.append((release, signed_manifest(root, RELEASES, release)))
        except JetsonError:  # damaged, or of a key that has no say any more
            continue
    return releases
