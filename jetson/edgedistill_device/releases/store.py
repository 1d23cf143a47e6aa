"""Releases on the board: which may be served, activation and rollback.

A release is served only when its signature, its files, its engine and what `verify` found agree;
after the switch it has to prove itself once more, through ROOT/current, or it is taken back.
"""

import os
import sys
import time

from edgedistill_device.engine import engine_file
from edgedistill_device.engine.runners import backend_named
from edgedistill_device.errors import JetsonError, ReleaseError, SignatureError, VerifyError
from edgedistill_device.manifest import check_files, id_of, manifest_from_bytes
from edgedistill_device.releases.health_check import TIMEOUT_S, CheckDiedError, ask_current, verify_current
from edgedistill_device.releases.root import (
    AGENT,
    BOARD,
    INCOMING,
    RELEASES,
    bytes_in,
    discard,
    folder_of,
    highest_serials,
    ids_in,
    is_folder,
    keep_others_out,
    read_board,
    read_json,
    sync_tree,
)
from edgedistill_device.releases.signature import key_store, signed_manifest_bytes
from edgedistill_device.releases.switch import active, mark_healthy, revert_unproven, strays, switch, writing

STALE_S = 24 * 3600.0  # a copy that nothing was added to for so long has been given up


def signed_manifest(root, kind, release):
    """(Manifest, key id) of ROOT/kind/release; nothing is parsed before its signature is checked.

    Raises:
        ReleaseError: not there, or another bundle than its name says.
        SignatureError, ManifestError.
    """
    folder = folder_of(root, kind, release)
    if not is_folder(folder):
        raise ReleaseError("%s/%s is not there; copy the bundle first" % (kind, release))
    content, key_id = signed_manifest_bytes(folder, root)
    bundle_id = id_of(content)
    if bundle_id != release:
        raise ReleaseError("%s/%s holds the bundle %s; copy it again" % (kind, release, bundle_id))
    return manifest_from_bytes(content), key_id


def whole_release(root, release):
    """Manifest of an accepted release whose every file is what was signed.

    Raises:
        ReleaseError, SignatureError, ManifestError.
    """
    manifest, _ = signed_manifest(root, RELEASES, release)
    check_files(folder_of(root, RELEASES, release), manifest.files)
    return manifest


def require_target(board, manifest):
    """Refuse a bundle that was made for another board.

    Raises:
        ReleaseError.
    """
    if manifest.target != board.target:
        raise ReleaseError(
            'the bundle is for %.40s and this board is %s; make it with [target] device = "%s"'
            % (manifest.target, board.target, board.target)
        )


def activate(root, release, timeout_s=TIMEOUT_S):
    """Activate a release; return to the previous one when its health check fails.

    Args:
        timeout_s: of the health check.

    Returns:
        JSON-able: id, previous, health (see health.examine), already.

    Raises:
        JetsonError: why it is not served; what was served before still is.
    """
    with writing(root):
        board, before = read_board(root), active(root)
        if is_folder(folder_of(root, RELEASES, release)):
            keep_others_out(folder_of(root, RELEASES, release), below=True)
        _require_servable(root, board, release)
        engine_file.require_verified(folder_of(root, RELEASES, release), board.backend)  # the last build
        if before is not None and before.current == release:
            try:
                health = ask_current(root, board.backend, timeout_s)
            except ReleaseError as error:
                raise ReleaseError("%s; it was the active release before and still is" % (error,))
            return _activated(release, before.previous, health, already=True)
        previous = before and before.current
        health = _switch_if_healthy(root, board, release, previous, timeout_s)
        return _activated(release, previous, health, already=False)


def _switch_if_healthy(root, board, release, served, timeout_s):
    """Make a release current and keep it so if its health check passes; the caller holds the lock.

    Args:
        served: id of what is current now, or None; it becomes the previous one.

    Returns:
        What `health` says.

    Raises:
        ReleaseError: it does not pass; `served` is current again.
    """
    sync_tree(folder_of(root, RELEASES, release))  # the engine too, which no copy brings back
    switch(root, release, served, proven=False)
    try:
        health = ask_current(root, board.backend, timeout_s)
    except ReleaseError as error:
        revert_unproven(root)
        raise ReleaseError("%s; %s" % (error, _now(served)))
    except BaseException:
        revert_unproven(root)
        raise
    mark_healthy(root)
    return health


def _activated(release, previous, health, already):
    return {"verb": "activate", "id": release, "previous": previous, "health": health, "already": already}


def _now(previous):
    return "no release is served" if previous is None else "%s is served again" % (previous,)


def _require_servable(root, board, release):
    """Require a whole release for this board, with a verified engine."""
    manifest = whole_release(root, release)
    require_target(board, manifest)
    _require_engine(root, board, release, manifest)


def _require_servable_again(root, board, release):
    """Require that the current release may be served; a `verify` of it that was cut off is done again first.

    Nothing is served that has not passed: its pass of before only says that it is worth the seconds.
    """
    try:
        _require_servable(root, board, release)
    except VerifyError:
        folder = folder_of(root, RELEASES, release)
        if not engine_file.verify_was_cut_off(folder, board.backend):
            raise
        sys.stderr.write("edgedistill_device: a verify of %s was cut off (a power cut?); again\n" % (release,))
        try:
            verify_current(root, board.backend, TIMEOUT_S)
        except CheckDiedError:
            with engine_file.verifying(folder):
                engine_file.forget_pass_aside(folder, board.backend)  # it would end the next one, too
            raise
        _require_servable(root, board, release)


def _require_engine(root, board, release, manifest):
    """Require that what `classify` loads there has passed `verify`, and that this machine can load it."""
    folder = folder_of(root, RELEASES, release)
    backend_named(board.backend).require_servable(folder, manifest)


def rollback(root, leave=None, timeout_s=TIMEOUT_S):
    """Activate the previous release again, if its files are unchanged and its health check passes.

    That it passed once is no proof: the board may have another TensorRT since, which loads its engine no more.

    Args:
        leave: go back only from this one, so that a repeated command does not return to it.
        timeout_s: of the health check.

    Returns:
        JSON-able: id, previous (the one that was left), already and, where it was asked, health.

    Raises:
        JetsonError: there is none, it is no longer servable, or it is not healthy; what was served before still is.
    """
    with writing(root):
        live = active(root)
        if live is not None and leave not in (None, live.current) and leave == live.previous:
            return {"verb": "rollback", "id": live.current, "previous": leave, "already": True}
        if live is None or leave not in (None, live.current):
            raise ReleaseError("current is %s, so there is nothing to roll back from" % (live and live.current,))
        if live.previous is None:
            raise ReleaseError("%s has no previous release to go back to" % (live.current,))
        board = read_board(root)
        try:
            _require_servable(root, board, live.previous)
        except JetsonError as error:
            raise ReleaseError("%s cannot be served: %s" % (live.previous, error))
        health = _switch_if_healthy(root, board, live.previous, live.current, timeout_s)
        return {
            "verb": "rollback",
            "id": live.previous,
            "previous": live.current,
            "health": health,
            "already": False,
        }


def prune(root, keep=3, now_s=None):
    """Remove all but the newest releases, and abandoned copies.

    Args:
        keep: releases that stay, by serial; current and previous stay and count, also beyond it.
        now_s: unix time, for the age of what lies in incoming.

    Returns:
        JSON-able: removed (ids of releases), incoming (ids of copies), freed_bytes.

    Raises:
        ReleaseError: keep is negative, another command is at work, the disk refuses.
    """
    if keep < 0:
        raise ReleaseError("--keep %d: expected 0 or more" % (keep,))
    now_s = time.time() if now_s is None else now_s
    with writing(root):
        live, there = active(root), ids_in(root, RELEASES)
        staying = {live.current, live.previous} & set(there) if live is not None else set()
        others = sorted(set(there) - staying, key=lambda release: (_serial(root, release), release))
        removed = others[: max(0, len(there) - max(keep, len(staying)))]
        stale = [i for i in ids_in(root, INCOMING) if now_s - _touched_s(root, i) > STALE_S]
        freed = 0
        for kind, releases in ((RELEASES, removed), (INCOMING, stale)):
            for release in releases:
                freed += bytes_in(folder_of(root, kind, release))
                discard(root, kind, release)
        return {"verb": "prune", "removed": removed, "incoming": stale, "freed_bytes": freed}


def _touched_s(root, release):
    """Time of the last change below; a folder changes when a name is added or removed."""
    folder = folder_of(root, INCOMING, release)
    paths = [os.path.join(place, n) for place, _, names in os.walk(folder) for n in names + ["."]]
    return max([os.lstat(folder).st_mtime] + [os.lstat(path).st_mtime for path in paths])


def status(root, recover=False):
    """The active release and all others. Without `recover` nothing is written and no lock is taken.

    Args:
        recover: first go back from a switch that was never proved, put links right that lead
            elsewhere, and finish a `verify` of what is current that was cut off; then refuse what must
            not be served, as a service asks before it starts.

    Returns:
        JSON-able: current, previous (ids or None), proven (its health was asked, its engine is the
        verified one, and ROOT/current leads to it), problems (lines: why it is not, and more),
        releases, incoming, board, agent, highest_serial, warnings (lines: what keeps bundles out).

    Raises:
        ReleaseError: no ROOT, or one that this code did not make.
        JetsonError: with `recover`, why what is current must not be served.
    """
    if recover:
        with writing(root):
            live = active(root)
            if live is not None:
                _require_servable_again(root, read_board(root), live.current)
    if not is_folder(root):
        raise ReleaseError("%s: no such folder; on the workstation: edgedistill enrol" % (root,))
    board = read_json(root, BOARD)
    (live, problems), (serials, warnings) = _looked_at(root), _trust(root)
    return {
        "verb": "status",
        "current": live and live.current,
        "previous": live and live.previous,
        "proven": live is not None and live.proven and not problems,
        "problems": problems,
        "releases": _rows(root, RELEASES, _row),
        "incoming": _rows(root, INCOMING, _incoming_row),
        "board": board,
        "agent": read_json(root, AGENT),
        "highest_serial": serials,
        "warnings": warnings,
    }


def _looked_at(root):
    """(Switch or None, what is wrong with what is served, a line each)."""
    try:
        live, problems = active(root), strays(root)
    except ReleaseError as error:
        return None, [str(error)]
    if live is not None:
        if not live.proven:
            problems.append("%s has not passed its health check yet" % (live.current,))
        try:
            manifest, _ = signed_manifest(root, RELEASES, live.current)
            _require_engine(root, read_board(root), live.current, manifest)
        except JetsonError as error:
            problems.append("%s: %s" % (live.current, error))
    return live, problems


def _trust(root):
    """({key id: highest serial} or None, a line for each reason why bundles are refused)."""
    serials, lines = None, []
    try:
        serials = highest_serials(root)
    except ReleaseError as error:
        lines.append(str(error))
    try:
        lines += key_store(root)[1]
    except SignatureError as error:
        lines.append(str(error))
    return serials, lines


def _rows(root, kind, row):
    """A row each; none for what another command removes meanwhile: no lock is taken."""
    rows = []
    for release in ids_in(root, kind):
        try:
            made = row(root, release)
        except (IOError, OSError):
            if is_folder(folder_of(root, kind, release)):
                raise
        else:
            rows += [made] if is_folder(folder_of(root, kind, release)) else []
    return rows


def _incoming_row(root, release):
    return {"id": release, "bytes": bytes_in(folder_of(root, INCOMING, release))}


def _row(root, release):
    """One release for people: its manifest is read, of its files the engine alone is hashed."""
    folder, manifest, passed = folder_of(root, RELEASES, release), None, {}
    try:
        manifest, _ = signed_manifest(root, RELEASES, release)
        board = read_board(root)
        backend_named(board.backend).require_built(folder, manifest)
        passed = engine_file.require_verified(folder, board.backend)
    except JetsonError:  # which of them is for `activate` to say
        pass
    return {
        "id": release,
        "model": manifest and manifest.model,
        "serial": manifest and manifest.serial,
        "bytes": bytes_in(folder),
        "verified": bool(passed),
        "executed": passed.get("executed"),
    }


def _serial(root, release):
    """The lowest rank for a release whose manifest is no longer valid, so that it is removed first."""
    try:
        return signed_manifest(root, RELEASES, release)[0].serial
    except JetsonError:
        return -1
