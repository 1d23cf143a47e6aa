"""What `edgedistill new` should make of each folder of `layouts`."""

import layouts as make
import pool_layouts as pools
from layouts import KINDS


class Layout:
    """A generator with what `edgedistill new` should make of it.

    sources: name of the split -> path below the folder; `images`: how many of each split the run has;
    `classes`; `data`: further keys of the recipe; `words`: what is said; `refused`: what the refusal says;
    `options`: words for the command line.
    """

    def __init__(
        self, make, sources=None, images=None, classes=KINDS, data=None, words=(), refused=None, options=(), train="."
    ):
        self.make, self.sources, self.images, self.classes = make, sources or {"train": "."}, images, list(classes)
        self.data, self.words, self.refused, self.options, self.train = data or {}, words, refused, options, train


GIVEN = {"train": 18, "val": 9, "test": 9}
LAYOUTS = {
    "folder per class": Layout(make.plain, images={"all": 60}),
    "train val test": Layout(make.splits(), {"train": "train", "val": "val", "test": "test"}, GIVEN),
    "Training Validation Testing": Layout(
        make.splits("Training", "Validation", "Testing"),
        {"train": "Training", "val": "Validation", "test": "Testing"},
        GIVEN,
    ),
    "TRAIN dev eval": Layout(
        make.splits("TRAIN", "dev", "eval"), {"train": "TRAIN", "val": "dev", "test": "eval"}, GIVEN
    ),
    "tRAIN vAL tEST": Layout(
        make.splits("tRAIN", "vAL", "tEST"), {"train": "tRAIN", "val": "vAL", "test": "tEST"}, GIVEN
    ),
    "train valid, no test": Layout(make.splits("train", "valid", None), {"train": "train", "val": "valid"}, {"val": 9}),
    "splits one deeper": Layout(
        make.splits(below="dataset"), {"train": "dataset/train", "val": "dataset/val", "test": "dataset/test"}, GIVEN
    ),
    "splits beside others": Layout(
        make.splits_beside_others,
        {"train": "train", "val": "val", "test": "test"},
        GIVEN,
        words=["folders beside the splits left out: __MACOSX, extra, labels"],
    ),
    "classes beside others": Layout(
        make.classes_beside_others,
        images={"all": 60},
        words=[
            "folder 'empty' left out: empty",
            "folders of an operating system or a tool left out: __MACOSX",
            "folder 'labels' left out: no images (1 .txt",
            "'annotations' left out: 6 files",
            "hidden or system files",
        ],
    ),
    "split inside class": Layout(
        make.class_then_split, images=GIVEN, words=["splits from the folders inside the classes"]
    ),
    "training_set test_set": Layout(
        make.splits("training_set", None, "test_set"), {"train": "training_set", "test": "test_set"}, {"test": 9}
    ),
    "doubly nested": Layout(
        make.doubly_nested,
        {"train": "seg_train/seg_train", "test": "seg_test/seg_test"},
        {"test": 9},
        words=["folders beside the splits left out: seg_pred"],
    ),
    "train alone": Layout(make.splits("train", None, None), {"train": "train"}, {"all": 18}, refused=None),
    "a class called train": Layout(make.class_called_train, images={"all": 60}, classes=["bus", "car", "train"]),
    "roboflow": Layout(
        make.roboflow,
        {"train": "train/_classes.csv", "val": "valid/_classes.csv", "test": "test/_classes.csv"},
        GIVEN,
        data={"path_column": "filename"},
        words=["labels from 3 columns of 0 and 1"],
    ),
    "kaggle": Layout(
        make.kaggle,
        {"train": "train.csv"},
        {"all": 60},
        classes=["0", "1", "2"],
        data={"path_column": "id_code", "label_column": "diagnosis", "image_root": "train_images", "suffix": ".png"},
    ),
    "split column": Layout(
        make.split_column, {"train": "all.csv"}, GIVEN, data={"split_column": "split"}, words=["splits from 'split'"]
    ),
    "unknown split": Layout(
        make.unknown_split, refused="the column 'split' says 'holdout'; expected one of train: train"
    ),
    "tabs and a BOM": Layout(
        make.tabs, {"train": "list.tsv"}, {"all": 60}, data={"image_root": "pics", "path_column": "File Name"}
    ),
    "parts and a table": Layout(
        make.parts,
        {"train": "metadata.csv"},
        {"all": 60},
        data={"image_root": ".", "label_column": "dx"},
        words=["metadata.csv names the labels: images of one folder have different ones", "--group-column lesion_id"],
    ),
    "two ones": Layout(
        make.one_hot_with_two, refused="line 13: 2 of the 3 class columns are 1 (disc, square); expected exactly one"
    ),
    "regression": Layout(make.regression, refused="the column 'target' holds decimal numbers"),
    "utf-16": Layout(make.encoded("utf-16"), refused="expected UTF-8, this is UTF-16"),
    "cp1252": Layout(make.encoded("cp1252"), refused="l.csv, line 2: expected UTF-8, the byte 0xe9 is not"),
    "hugging face": Layout(
        make.hugging_face,
        {
            "train": "data/train-0000{0,1}-of-00002.parquet",
            "val": "data/validation-00000-of-00001.parquet",
            "test": "data/test-00000-of-00001.parquet",
        },
        {"train": 24, "val": 9, "test": 9},
    ),
    "masks beside": Layout(make.masks_beside, refused="18 of 36 images have the name of another one"),
    "masks left out": Layout(
        make.masks_beside, images={"all": 18}, data={"leave_out": ("*.png",)}, options=("--leave-out", "*.png")
    ),
    "masks named": Layout(make.masks_named, refused="--leave-out '*_mask.*'"),
    "masks in folders": Layout(make.masks_in_folders, refused="--leave-out '*/masks/*'"),
    "other endings": Layout(
        make.other_endings,
        images={"all": 54 + sum(map(make.is_read, (".jfif", ".gif", ".avif", ".mpo")))},
        words=["3 .heic (HEIC, convert to JPEG or PNG)", "1 linked folders", "1 linked folders that lead back above"],
    ),
    "a class of DICOM": Layout(
        make.dicom_class, refused="the class 'scans' has no images that can be read, only 1 .dcm (DICOM"
    ),
    "odd class names": Layout(make.odd_names, images={"all": 60}, classes=["n02\\084", 'say "hi"', "\xe9t\xe9"]),
    "numbered classes": Layout(make.numbered, images={"all": 60}, classes=["2", "9", "10"]),
    "links that loop": Layout(make.loops, images={"all": 60}, words=["1 linked folders (links are not followed)"]),
    "one level too high": Layout(make.one_level_too_high, refused="ROOT/dataset"),
    "one level too low": Layout(make.one_level_too_low, train="disc", refused="--train ROOT"),
    "classes differ": Layout(
        make.differing_classes,
        {"train": "train", "val": "val", "test": "test"},
        words=[
            "REFUSED: the run will stop at this: data.test and data.train have different classes: test lacks ['disc']"
        ],
    ),
    "a rare class": Layout(
        make.rare, words=["REFUSED: the run will stop at this: class 'rare' has 1 image in 1 group, too few"]
    ),
    "a rare class dropped": Layout(
        make.rare,
        images={"all": 60},
        options=("--small-classes", "drop"),
        data={"small_classes": "drop"},
        words=["dropped: 1 class of less than 3 images, 1 image: rare (1)"],
    ),
    "a class called mask": Layout(make.numbered_images, images={"all": 60}, classes=["mask", "no_mask", "other"]),
    "a folder of masks": Layout(
        make.masks_folder, images={"all": 60}, words=["folder 'masks' left out: 20 files, masks"]
    ),
    "two tables": Layout(
        make.two_tables,
        {"train": "train.csv", "test": "test.csv"},
        {"test": 9},
        data={"image_root": "{table}", "path_column": "id"},
    ),
    "one folder, two tables": Layout(
        make.one_folder_two_tables,
        {"train": "train_labels.csv", "val": "val_labels.csv"},
        {"val": 9},
        data={"image_root": "images", "path_column": "filename"},
    ),
    "a file is missing": Layout(
        make.missing_file,
        {"train": "list.csv"},
        {"all": 60},
        data={"image_root": "pictures", "suffix": ".png", "skip_unreadable": True, "label_column": "tags"},
        words=["UNREADABLE: 1 file,"],
    ),
    "anomalies": Layout(make.anomalies, refused="there is only one class folder with images, 'good'"),
    "a table alone": Layout(make.no_images_at_all, refused="none of the paths in the column 'image_name' is a file"),
    "test images of no class": Layout(
        make.unknown_test, {"train": "train"}, words=["test: test has no labels"], images={"all": 18}
    ),
    "val and test alone": Layout(make.without_train, refused="holds the splits test, val, but none called train"),
    "no endings": Layout(make.without_endings, refused="there is nothing but 3 files without an ending"),
    "hugging face, converted": Layout(
        make.converted_hugging_face,
        {"train": "default/train", "val": "default/validation", "test": "default/test"},
        {"train": 24, "val": 9, "test": 9},
    ),
    "classes and a table of them": Layout(
        make.classes_and_table,
        images={"all": 60},
        words=["the folders are the classes; list.csv beside them is not used"],
    ),
    "one level too high, beside a table": Layout(make.too_high_beside_a_table, refused="ROOT/dataset"),
    "one table of all splits": Layout(
        make.one_table_of_splits, {"train": "all.csv"}, GIVEN, data={"split_column": "split"}, words=["splits found"]
    ),
    "one class in a table": Layout(make.one_class, refused="expected at least two classes, all 12 images are 'part'"),
    "a pool beside the classes": Layout(
        pools.pool_beside_classes("unlabelled"),
        {"train": "parts"},
        {"all": 66, "unlabelled": 6},
        train="parts",
        data={"unlabelled": "ROOT/parts/unlabelled"},
        words=["folder 'unlabelled' left out: 6 files, no labels by its name", "6 images in the unlabelled pool"],
    ),
    "Unlabeled_Images, one level too high": Layout(
        pools.pool_beside_classes("Unlabeled_Images"),
        refused="ROOT/parts",
    ),
    "a pool beside the splits": Layout(
        pools.pool_beside_splits,
        {"train": "train", "test": "test"},
        {"test": 9, "unlabelled": 6},
        data={"unlabelled": "ROOT/unlabeled"},
    ),
    "a pool beside train": Layout(
        pools.pool_beside_train,
        {"train": "train"},
        {"all": 24, "unlabelled": 6},
        data={"unlabelled": "ROOT/unlabelled"},
    ),
}
