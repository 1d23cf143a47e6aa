"""What a board reads: a bundle's archive and manifest, keys, signatures, its own small files."""

import hashlib
import io
import json
import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import archives
from bundles import content_of, sign
from corruptions import after_head, mutated, mutated_json
from edgedistill.bundles.archive import unpack_archive
from edgedistill.errors import BundleError
from edgedistill_calibration.cache import amax_from_text, text_from_amax
from edgedistill_device.benchmark.benchreport import KEYS, report_from_line
from edgedistill_device.engine import engine_file
from edgedistill_device.errors import BenchError, JetsonError, ManifestError, SignatureError
from edgedistill_device.manifest import NAME, SIGNATURE, manifest_from_bytes
from edgedistill_device.releases import root, signature, store, switch, unpack
from fuzz_board_system import text_of
from monitored_target import Target


def sample_manifest():
    """As `write_manifest` writes it, of a folder with one file."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.onnx").write_bytes(b"x")
        sign(folder)
        return json.loads(Path(folder, NAME).read_text(encoding="utf-8"))


def calibration_cache(folder):
    cache = text_from_amax({"a": 1.0, "b: c": 0.5, "": 3.0}, "8.2.1").encode()
    return Target([cache], lambda c: amax_from_text(text_of(c)), ValueError, folder)


def manifest(folder):
    content = json.dumps(sample_manifest()).encode()
    return Target([content], manifest_from_bytes, ManifestError, folder, mutated_json)


def benchmark_report(folder):
    report = json.dumps({**dict.fromkeys(KEYS), "version": 2, "state": "locked"}).encode()
    return Target([report], lambda c: report_from_line(text_of(c)), BenchError, folder, mutated_json)


def bundle_archive(folder):
    """Who holds a bundle of ours changes it: what is taken is what was signed, byte for byte.

    Instead of openssl, which takes 10 ms, the signature's check knows the one manifest that was signed.
    """
    bundle, _, public = archives.make_signed(folder)
    board, parts = archives.make_root(folder, public), archives.genuine(bundle)
    signed = Path(bundle, NAME).read_bytes()
    contents = {**archives.FILES, NAME: signed}
    here, file = folder / "here", folder / "x.edb.tar"
    here.mkdir()

    def key_that_signed(content, signature, root):
        if content != signed:
            raise SignatureError("the manifest was altered")

    def call(content):
        before = archives.tree(str(folder))
        try:
            with mock.patch.object(unpack, "key_that_signed", key_that_signed):
                found = unpack.unpack(io.BytesIO(content), board)
            _same_files(os.path.join(board, "incoming", found["id"]), contents)
        finally:
            shutil.rmtree(os.path.join(board, "incoming"), ignore_errors=True)
            assert archives.tree(str(folder)) == before
        file.write_bytes(content)
        try:
            _same_files(unpack_archive(file, here), contents)
        finally:
            shutil.rmtree(here / "x", ignore_errors=True)
            file.unlink()

    hostile = [kind(parts) for _, kind in sorted(archives.HOSTILE.items())]
    corpus = [archives.joined(parts)] * 20 + [raw for raw in hostile if 512 <= len(raw) < 1 << 16]

    def corruptions(draw, corpus):
        content = draw.choice(corpus)
        return archives.mutated(content, draw) if len(content) >= 512 else mutated(draw, [content])

    return Target(corpus, call, (JetsonError, BundleError), folder, corruptions)


def _same_files(folder, contents):
    found = content_of(folder)
    found.pop(SIGNATURE)
    assert found == contents, "a changed bundle was taken"


def archive_of_another_manifest(folder):
    """A key that is trusted signed something else: it may name files, and nothing but files inside.

    The input is a manifest; the archive holds what that lists, with the contents of the bundle.
    """
    bundle, _, public = archives.make_signed(folder)
    board, contents = archives.make_root(folder, public), archives.FILES
    by_digest = {hashlib.sha256(raw).hexdigest(): raw for raw in contents.values()}

    def packed(content):
        try:
            files = json.loads(content)["files"]
            rows = [(name, by_digest.get(entry["sha256"], b"")) for name, entry in sorted(files.items())]
            parts = [("", archives.member(name, raw)) for name, raw in rows]
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError, OverflowError):
            parts = []
        head = [("", archives.member(name, raw)) for name, raw in ((NAME, content), (SIGNATURE, b"x"))]
        return archives.joined(head + parts)

    def call(content):
        before = archives.tree(str(folder))
        try:
            with mock.patch.object(unpack, "key_that_signed"):
                found = unpack.unpack(io.BytesIO(packed(content)), board)
            listed = manifest_from_bytes(content).files
            place = os.path.join(board, "incoming", found["id"])
            for name, entry in listed.items():
                assert hashlib.sha256(Path(place, name).read_bytes()).hexdigest() == entry.sha256
            assert sum(len(names) for _, _, names in os.walk(place)) == len(listed) + 2
        finally:
            shutil.rmtree(os.path.join(board, "incoming"), ignore_errors=True)
            assert archives.tree(str(folder)) == before

    return Target([Path(bundle, NAME).read_bytes()], call, JetsonError, folder, mutated_json)


def signatures(folder):
    """By the real openssl. The first byte says what was changed: signature, manifest, key, revoked ids."""
    bundle, _, public = archives.make_signed(folder)
    board = archives.make_root(folder, public)
    pem, revoked = Path(board, "trusted.d", "ours.pem"), Path(board, "revoked")
    genuine = [Path(bundle, SIGNATURE).read_bytes(), Path(bundle, NAME).read_bytes(), pem.read_bytes(), b""]
    key_id = signature.key_id_of(str(pem))

    def call(content):
        which = content[0] % 4 if content else 0
        parts = [*genuine[:which], content[1:], *genuine[which + 1 :]]
        pem.write_bytes(parts[2])
        revoked.write_bytes(parts[3])
        assert signature.key_that_signed(parts[1], parts[0], board) == key_id
        assert parts[1] == genuine[1], "another manifest passed"
        assert key_id.encode() not in parts[3].split(), "a revoked key passed"

    corpus = [bytes([which]) + raw for which, raw in enumerate([*genuine[:3], b"0123456789abcdef\n" + key_id.encode()])]
    return Target(corpus, call, SignatureError, folder, after_head(mutated, 1), ("openssl",))


def board_files(folder):
    """ROOT's own small files. The first byte says which one is the input."""
    board = archives.make_root(folder, archives.make_signed(folder)[2])
    files = {
        "board.json": {"version": 1, "target": "local", "backend": "onnxruntime"},
        "state.json": {"version": 1, "highest_serial": {"0123456789abcdef": 3}},
        "agent/agent.json": {"version": 1, "sha256": "0" * 64},
        "revoked": "0123456789abcdef",
        "switches/0001/unproven": "0000",
    }
    names = list(files)
    genuine = {
        name: value.encode() if isinstance(value, str) else json.dumps(value).encode() for name, value in files.items()
    }
    for name in names:
        Path(board, name).parent.mkdir(parents=True, exist_ok=True)
    os.symlink("../../releases/" + "0" * 16, os.path.join(board, "switches", "0001", "current"))

    def call(content):
        changed = {**genuine, names[content[0] % len(names) if content else 0]: content[1:]}
        Path(board, "switches", "0001").mkdir(exist_ok=True)
        for name, raw in changed.items():
            Path(board, name).write_bytes(raw)
        live = Path(board, "live")
        live.unlink(missing_ok=True)
        live.symlink_to("switches/0001")
        json.dumps(store.status(board))
        store.require_target(root.read_board(board), manifest_from_bytes(sample))
        root.note_serial(board, "0123456789abcdef", 7)
        signature.trusted_keys(board)
        switch.revert_unproven(board)

    sample = json.dumps(sample_manifest()).encode()
    corpus = [bytes([number]) + genuine[name] for number, name in enumerate(names)]
    return Target(corpus, call, JetsonError, folder, after_head(mutated_json, 1), ("openssl",))


def engine_record(folder):
    """The engine's sidecar, and the record of a verify that passed: the first byte says which."""
    bundle, _, _ = archives.make_signed(folder)
    listed = manifest_from_bytes(Path(bundle, NAME).read_bytes())
    place = Path(engine_file.engine_folder(bundle))
    place.mkdir(parents=True)
    (place / "x.engine").write_bytes(b"engine")
    digest = hashlib.sha256(b"engine").hexdigest()
    record = {
        **dict.fromkeys(engine_file.KEYS, 1),
        "engine": "x.engine",
        "engine_sha256": digest,
        "onnx": "model.onnx",
        "onnx_sha256": listed.files["model.onnx"].sha256,
        "board": "Nano",
        "sm": 53,
        "tensorrt": "8.2.1",
    }
    genuine = [json.dumps(record).encode(), json.dumps({"engine_sha256": digest, "executed": "fp16"}).encode()]

    def call(content):
        which = content[0] % 2 if content else 0
        for number, name in enumerate((engine_file.SIDECAR, "verified.json")):
            (place / name).write_bytes(content[1:] if number == which else genuine[number])
        found, engine = engine_file.read_engine(bundle, listed)
        assert engine == b"engine", "another engine was taken"
        engine_file.check_machine(found, board="Nano", sm=53, tensorrt="8.2.1")
        engine_file.require_verified(bundle, "tensorrt")

    corpus = [bytes([which]) + raw for which, raw in enumerate(genuine)]
    return Target(corpus, call, JetsonError, folder, after_head(mutated_json, 1))
