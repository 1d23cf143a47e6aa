"""gallery: the enrolled images of a bundle that answers with the nearest of them: list, add a class, remove one."""

import contextlib
import os

from edgedistill_device.engine.runners import open_runner
from edgedistill_device.errors import GalleryError
from edgedistill_device.json_text import json_text
from edgedistill_device.manifest import EMBEDDING, WORK, read_manifest
from edgedistill_device.text import plain, readable
from edgedistill_device.verbs import bundle_options

HELP = "list, add or remove classes of a bundle that answers with the nearest enrolled image"


def options(parser):
    bundle_options(parser)
    parser.add_argument("--gallery", metavar="FILE", help="default: work/gallery.npz, the bundle's until it is there")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.required = True  # not an argument of add_subparsers on Python 3.6
    actions.add_parser("list", help="classes and the number of their images")
    add = actions.add_parser("add", help="add photographs of a new class, or more of one; nothing is trained")
    add.add_argument("name", metavar="NAME", help="class")
    add.add_argument("photos", nargs="+", metavar="PHOTO", help="image files and folders of them")
    actions.add_parser("remove", help="remove a class").add_argument("name", metavar="NAME", help="class")


def run(args):
    from edgedistill_device.inference.gallery import digest_of, place_of, read_gallery, write_gallery
    from edgedistill_device.lock import held

    manifest = read_manifest(args.bundle)
    if manifest.task != EMBEDDING:
        raise GalleryError("a bundle of %s names its classes itself and has no gallery" % (manifest.task,))
    own, source = place_of(args.bundle) if args.gallery is None else (args.gallery, args.gallery)
    if args.action == "list":
        return _said(args, read_gallery(source, digest_of(manifest)))
    os.makedirs(os.path.join(args.bundle, WORK), exist_ok=True)
    busy = GalleryError("%s is being changed by another command; try again when it has ended" % (own,))
    with held(own + ".lock", busy), contextlib.ExitStack() as stack:
        _, source = place_of(args.bundle) if args.gallery is None else (own, own)  # what another command wrote before
        gallery = read_gallery(source, digest_of(manifest))
        change = {}
        if args.action == "remove":
            gallery = gallery.without_class(readable(args.name))
        else:
            runner = stack.enter_context(open_runner(args.backend, args.bundle, manifest, verified=True))
            gallery, change = _added(gallery, args, manifest, runner)
        write_gallery(own, gallery)
    return _said(args, gallery, **change)


def _added(gallery, args, manifest, runner):
    """(the gallery with the photographs, what is said of them)."""
    from edgedistill_device.inference.classify import image_files
    from edgedistill_device.inference.gallery import embeddings_of, image_name, made_here

    name, paths = readable(args.name), [path for photo in args.photos for path in image_files(photo)]
    names = [image_name(path) for path in paths]
    if len(set(names)) < len(names):
        raise GalleryError("two of the photographs have the same file name; rename one")
    embeddings = embeddings_of(paths, manifest, runner)
    gallery = gallery.with_class(name, embeddings, names, made_here(runner))
    own = gallery.neighbours_of_own_class(name)
    said = "%s: %d images added; of its %d, %d are nearest to one of their own class"
    print(plain(said % ((name, len(paths)) + own)))
    return gallery, {"added": len(paths), "class_images": own[0], "nearest_own_class": own[1]}


def _said(args, gallery, **change):
    for name, count in gallery.counts().items():
        print(plain("%s: %d images" % (name, count)))
    said = {"verb": "gallery", "action": args.action, "images": len(gallery.labels), "classes": gallery.counts()}
    return json_text(dict(said, **change))
