"""Which key of report.json belongs under which heading of the page and between which words, and how it is written."""

LADDER, NET = "accuracy_ladder.ROW", "ROW"
NETS, SPLITS = ("teacher", "baseline", "student"), ("train", "val", "test")
READINGS = (
    ("hottest zone, \N{DEGREE SIGN}C", "temperatures_c.cpu"),
    ("GPU, MHz", "gpu_mhz"),
    ("CPU, MHz", "cpu_mhz"),
    ("input, W", "input_mw"),
    ("available, MiB", "available_mib"),
)

# Label of a table -> heading and what stands below it. ROW: the row's own heading, as ROWS words it; N: the row's
# number; D: the host's; COL: the heading. None: no number of report.json.
TABLES = {
    "The recipe's budget": [
        ("figure", None),
        ("limit", None),
        ("found", None),
        ("verdict", None),
        ("how it is known", None),
    ],
    "Accuracy at each precision": [
        ("step", None),
        ("top-1", f"{{{LADDER}.top1_fraction}} %"),
        ("95 % interval", f"{{{LADDER}.top1_interval.0}} % to {{{LADDER}.top1_interval.1}} %"),
        ("balanced", f"{{{LADDER}.balanced_accuracy_fraction}} %"),
        ("change in top-1, points", f"reference|{{{LADDER}.drop_points}}"),
        (
            "95 % interval",
            f"|standard error {{{LADDER}.drop_standard_error_points}}"
            f"|{{{LADDER}.drop_interval_points.1}} to {{{LADDER}.drop_interval_points.0}}",
        ),
        ("same class as float", f"{{{LADDER}.agreement_fraction}} %"),
        ("logit SQNR", f"{{{LADDER}.sqnr_db}} dB|equal"),
    ],
    "Calibration": [
        ("confidence", None),
        ("expected calibration error", "{decisions.calibration.calibration_error_ROW} %"),
        ("negative log likelihood, nats", "{decisions.calibration.loss_ROW}"),
    ],
    "Precision": [
        ("class", None),
        ("test images", "{decisions.classes.N.images}"),
        ("answers", "{decisions.classes.N.answers}"),
        *((head, f"{{decisions.classes.N.{head.lower()}}} %") for head in ("precision", "recall", "F1")),
    ],
    "Files with typed tensors": [
        ("file", None),
        ("largest logit difference", "{typed.N.max_relative_logit_difference}"),
        ("with FP32 around INT8", "|{typed.N.source_relative_logit_difference}"),
        ("limit", "{typed.N.limit}"),
        ("other class", "{typed.N.other_class}"),
        ("images", "{typed.N.images}"),
        ("in float32", None),
        ("MB", "{typed.N.file_bytes} MB"),
    ],
    "The student's epochs": [
        ("epoch", "{histories.student.N.epoch}"),
        ("kd", "{histories.student.N.terms.kd}"),
        ("label", "{histories.student.N.terms.label}"),
        ("feature", "{histories.student.N.terms.feature}"),
        ("validation top-1", "{histories.student.N.eval_top1_fraction} %"),
        ("balanced", "{histories.student.N.eval_balanced_accuracy_fraction} %"),
    ],
    "Accuracy and size of the three networks": [
        ("network", None),
        ("model", None),
        ("top-1", f"{{{NET}.top1_fraction}} %"),
        ("95 % interval", f"{{{NET}.top1_interval.0}} % to {{{NET}.top1_interval.1}} %"),
        ("balanced", f"{{{NET}.balanced_accuracy_fraction}} %"),
        ("parameters", f"{{{NET}.parameters}} M"),
        ("multiply-adds", f"{{{NET}.macs}} M"),
        ("ONNX file", f"{{{NET}.file_bytes}} MB"),
    ],
    "Recall of each class": [
        ("class", None),
        ("test images", "{data.counts.test.ROW}"),
        *((net, f"{{{net}.per_class_recall.ROW}} %") for net in NETS),
    ],
    "Students on this teacher": [
        ("student", None),
        ("settings", "distill.temperature {swept.students.N.settings.distill.temperature}|ANY"),
        ("WORDS", "{swept.students.N.value} %"),
        ("parameters", "{swept.students.N.parameters} M"),
        (
            "predicted ms",
            "{swept.students.N.latency_ms} ({swept.students.N.latency_ms_low} to "
            "{swept.students.N.latency_ms_high}ANY)",
        ),
        ("epochs", "{swept.students.N.epochs}"),
        ("state", None),
    ],
    **{f"Confusion of the {net}": [("true class", None), *[(None, f"{{{net}.confusion.N.COL}}")] * 6] for net in NETS},
    "Latency": [
        ("scope", None),
        *((head, f"{{devices.D.latency_ms.ROW.{head}_ms}}") for head in ("p50", "p90", "p95", "p99", "max")),
        ("FPS", "{devices.D.fps.ROW}|"),
        ("how", "ANY {devices.D.latency_ms.ROW.runs} runs"),
    ],
    "Temperatures": [
        ("zone", None),
        *((when, f"{{devices.D.conditions.temperatures_c.{when}.ROW}}") for when in ("before", "peak", "after")),
    ],
    "Memory": [
        ("what", None),
        ("baseline", "{devices.D.memory.ROW_before_mib}"),
        ("extreme", "{devices.D.memory.ROW_EXTREME_mib}"),
        (
            "delta",
            "{devices.D.memory.ROW_delta_mib}|{devices.D.memory.ROW_EXTREME_mib - devices.D.memory.ROW_before_mib}",
        ),
    ],
    "Readings": [
        ("what", None),
        *(
            (
                loop,
                "{devices.D.trace.loops.COL.end_s - devices.D.trace.loops.COL.start_s}"
                "|{devices.D.trace.ROW.*}( to {devices.D.trace.ROW.*})?|ANY",
            )
            for loop in ("network alone", "from the image file", "pipelined")
        ),
    ],
    "Layers": [
        ("layer", None),
        ("kind", None),
        ("ms", "{devices.D.layer_times.layers.N.median_ms}"),
        ("of the sum", "{devices.D.layer_times.layers.N.share} %"),
        ("of the sum", None),
    ],
    "Published measurements": [(head, None) for head in ("board", "FPS", "ms", "differs", "runtime", "source")],
    "Cost of a month": [
        ("who", None),
        ("what", None),
        ("EUR a month", "{running_cost.WHO.per_month}|{running_cost.WHO.items.ITEM.per_month}"),
        ("reckoned as", None),
        ("from", None),
    ],
    "Images of each class and split": [
        ("class", None),
        *((split, f"{{data.counts.{split}.ROW}}|{{data.images.{split}}}") for split in SPLITS),
    ],
    "Accuracy by the size of the pool": [
        ("images without a label", "{taught.pool_curve.points.N.pool_images}"),
        ("learnt from in all", "{taught.pool_curve.points.N.images}"),
        ("WORDS", "{taught.pool_curve.points.N.balanced_accuracy_fraction} %"),
    ],
    "Expected of a larger pool": [
        ("images without a label", "{taught.pool_curve.expected.N.pool_images}"),
        ("times the pool", "{taught.pool_curve.expected.N.times}"),
        ("WORDS", "{taught.pool_curve.expected.N.fraction} %"),
        ("95 % interval", "{taught.pool_curve.expected.N.interval.0} % to {taught.pool_curve.expected.N.interval.1} %"),
    ],
    "Time and digest of each stage": [("stage", None), ("seconds", "{cost.ROW}"), ("SHA-256", None)],
    "Packages": [("package", None), ("version", None)],
}

ROWS = {
    "computing, as the device times it": "compute",
    "network alone": "host",
    "from the image file": "end_to_end",
    "as trained": "before",
    "with the temperature": "after",
    "process, resident, peak": "process",
    "system, available, least": "available",
    "GPU driver (NvMap), most": "nvmap",
    **dict(READINGS),
    **{f"{step} measured here": step for step in ("float", "onnx")},
    **{f"{step} simulated": step for step in ("fp16", "int8")},
}
EXTREMES = {"process": "peak", "available": "least", "nvmap": "most"}

# What stands between which words. D: a host; P: a pair of networks; N: an image; METRIC and WORDS: the recipe's.
PROSE = """
The student keeps {retention_fraction} % measured here of its teacher's WORDS with {macs_ratio}\u00d7 counted fewer \
multiply-adds in a file {size_ratio}\u00d7 counted smaller. Against the same student without a teacher: \
{gain.points} points measured here,
The student keeps {retention_fraction} % measured here of its teacher's WORDS with {macs_ratio}\u00d7 counted fewer \
multiply-adds in a file {size_ratio}\u00d7 counted smaller. Against the same student without a teacher: \
{gain.over_seeds.gain.mean_points} points measured here as the mean of {gain.seeds} seeds
From its file to the class one image takes {devices.D.latency_ms.end_to_end.p50_ms} ms
divided by a temperature of {decisions.calibration.temperature}, fitted on {decisions.calibration.validation_images} \
validation images at FP16
{decisions.calibration.test_images} test images at FP16 simulated
Data set ANY: {data.images.train + data.images.val + data.images.test} images of
, and {taught.pool_images} without a label. Teacher:
On Jetson Nano 4GB {predicted.fps} FPS predicted are expected of the network alone ({predicted.fps_low} to \
{predicted.fps_high}, extrapolated).
of the student {student.METRIC} %measured here 95 % interval {student_interval.0} % to {student_interval.1} %, \
{test_images} test images; always “good” gives {chance.METRIC} %
Retention of WORDS {retention_fraction} %measured here {student.METRIC} % of the teacher's {teacher.METRIC} %
Gain over no teacher {gain.points}measured here points, 95 % interval {gain.interval_points.0} to \
{gain.interval_points.1}, {gain.seeds} seed
Gain over no teacher {gain.over_seeds.gain.mean_points}measured here points, mean of {gain.seeds} seeds, 95 % interval \
{gain.over_seeds.interval_points.0} to {gain.over_seeds.interval_points.1}
Speed-up over the teacher {speedup.ratio}\u00d7stand-in the networks alone, timed in turn
ONNX file, float32 {student.file_bytes} MBcounted {size_ratio}\u00d7 smaller than the teacher; {student.parameters} M \
parameters, {student.macs} M multiply-adds
From image file to class, ANY {devices.D.latency_ms.end_to_end.p50_ms} msANY {devices.D.fps.end_to_end} FPS; \
{devices.D.memory.process_peak_mib + devices.D.memory.nvmap_delta_mib} MiB at the peak
INT8 changes top-1 by {accuracy_ladder.int8.drop_points} points (standard error \
{accuracy_ladder.int8.drop_standard_error_points})
INT8 shows a loss: {accuracy_ladder.int8.drop_points} points of top-1 (95 % interval \
{accuracy_ladder.int8.drop_interval_points.1} to {accuracy_ladder.int8.drop_interval_points.0})
are one number in FP16 ({typed.0.ties}) are not counted
the network alone {predicted.fps} FPSpredicted {predicted.interval_share} % interval {predicted.fps_low} to \
{predicted.fps_high}; about {predicted.memory_mib} MiB where the engine is built without cuBLAS and cuDNN, an estimate
PTQ: equalisation kept ({ptq.steps.0.gain_db} dB), bias correction kept ({ptq.steps.1.gain_db} dB), rounding not kept \
({ptq.steps.2.gain_db} dB). SQNR of the logits simulated on {ptq.held_out_images} calibration images
Quantization-aware distillation, {qad.epochs} epochs, on validation images simulated: INT8 top-1 \
{qad.before.top1_fraction} % before, {qad.after.top1_fraction} % after
largest logit difference {proof.max_relative_difference} of the largest logit, same class on \
{proof.top1_agreement_fraction} %; opset {proof.opset}, IR {proof.ir}.
On {test_images} test images that nothing was trained or chosen on
would give {chance.top1_fraction} % top-1 and {chance.balanced_accuracy_fraction} % balanced accuracy counted
Gain in top-1: {gain.top1_points} points, 95 % interval {gain.top1_points_interval.0} to \
{gain.top1_points_interval.1}; only the student was right on {gain.student_only_correct} images, only the baseline on \
{gain.baseline_only_correct} (exact McNemar p = {gain.mcnemar_p})
over {gain.seeds} seeds the baseline has {gain.over_seeds.baseline.mean_points} \u00b1 \
{gain.over_seeds.baseline.sd_points}, the student {gain.over_seeds.student.mean_points} \u00b1 \
{gain.over_seeds.student.sd_points}, the gain is {gain.over_seeds.gain.mean_points} \u00b1 \
{gain.over_seeds.gain.sd_points} points (mean and standard deviation)
Who teaches besides (ANY): resnet18 {links.0.METRIC} %, mobilenetv2_100 {links.1.METRIC} %
judged on the same {swept.images} validation images
Student and teacher say the same on {teacher_agreement_fraction} % of the test images
Of {disagreements.P.images} test images, {disagreements.P.apart} get another class. Both right: \
{disagreements.P.both_right}; only the ANY: {disagreements.P.first_only_right}; only the ANY: \
{disagreements.P.second_only_right}; both wrong, alike: {disagreements.P.both_wrong_alike}; both wrong, each in its \
own way: {disagreements.P.both_wrong_apart}
LABEL taken for SAID: {look_closer.confusions.N.images} image
no finer than the last feature map: {look_closer.heat.rows} \u00d7 {look_closer.heat.columns} places
on average of the images with that label: {look_closer.suspects.test_images} test images, \
{look_closer.suspects.train_images} training images
label LABEL student SAID {look_closer.PLACE.student.0.probability} %ANYor SAID \
{look_closer.PLACE.student.1.probability} %ANYteacher SAID {look_closer.PLACE.teacher.probability} %
label LABEL teacher SAID {look_closer.suspects.shown.N.teacher.probability} %
true LABEL FIRST SAID {disagreements.P.shown.N.first.probability} % SECOND SAID \
{disagreements.P.shown.N.second.probability} %
while the network works: {devices.D.fps.pipelined} FPS
, {devices.D.power.energy_mj} mJ an image of the whole input
GPU {devices.D.conditions.clocks_mhz.gpu.2} of {devices.D.conditions.clocks_mhz.gpu.1} MHz
came out within {devices.D.verify.max_relative_difference} of the largest logit (limit {devices.D.verify.tolerance}) \
on {devices.D.verify.images} images
medians of {devices.D.layer_times.runs} profiled runs after the timed ones. Profiling slows, and what lies between \
layers is in none: their sum, {devices.D.layer_times.sum_ms} ms, is not the latency
The student is {speedup.ratio}\u00d7 stand-in as fast as its teacher on this computer
predicted {predicted.fps} FPS ({predicted.fps_low} to {predicted.fps_high}) on Jetson Nano 4GB, the network alone.
The training of distill took {trained_before.distill} seconds measured here: it began before the stage, beside another \
training or in a run that was interrupted.
The board has paid for itself after {running_cost.payback_months} months.
each on {running_cost.hours_per_month} hours a month
The student learnt from {taught.student_images} images counted; the baseline learnt from {taught.baseline_images}
The student learnt from {taught.student_images} images counted, among them images of an unlabelled pool of \
{taught.pool_images}, which only the teacher labelled ({taught.pool_of_train} are training images whose labels nobody \
was shown, by data.train_labels); the baseline learnt from {taught.baseline_images} labelled ones
mean confidence on the {taught.pool.images} unlabelled images is {taught.pool.mean_confidence}; on a tenth of them it \
is below {taught.pool.confidence_quantiles.0.1} measured here. {taught.pool.kept} are used for training counted. Its \
answers: good {taught.pool.kept_by_class.good}, dent {taught.pool.kept_by_class.dent}.
the {taught.pool_curve.labelled_images} labelled images and those of the pool together: the error falls as their \
number to the power {taught.pool_curve.exponent}
by its class counted: dent {taught.class_weights.dent}, good {taught.class_weights.good}.
student {taught.best_epochs.student.0} of {taught.best_epochs.student.1}
{data.images_in_groups} images in {data.near_duplicate_groups} groups of look-alikes, each kept in one split; \
{data.exact_duplicates} exact copies; {data.leak_count} leaks between splits; {data.unreadable_count} unreadable
""".strip().split("\n")

# How a number is written, by the end of its key: factor, format, and what takes the place of a minus sign.
FORMATS = (
    (
        r"(_fraction|top1_interval\.\d|student_interval\.\d|per_class_recall\.[^.]+|students\.\d+\.value|\.share)$",
        100,
        ".1f",
    ),
    (r"pool_curve\.expected\.\d+\.(fraction|interval\.\d)$", 100, ".1f"),
    (r"pool_curve\.exponent$", 1, ".2f"),
    (r"taught\.pool\.(mean_confidence|confidence_quantiles\.0\.1)$", 1, ".2f"),
    (r"(probability|interval_share)$", 100, ".0f"),
    (r"decisions\.classes\.\d+\.(precision|recall|f1)$", 100, ".1f"),
    (r"calibration_error_(before|after)$", 100, ".1f"),
    (r"decisions\.calibration\.loss_", 1, ".3f"),
    (r"decisions\.calibration\.temperature$", 1, ".3g"),
    (r"^gain\.(top1_)?(points|interval_points|points_interval)(\.\d)?$", 1, "+.1f"),
    (r"over_seeds\.(gain\.mean_points|interval_points\.\d)$", 1, "+.1f"),
    (r"^gain\.over_seeds\.", 1, ".1f"),
    (r"drop_(interval_)?points(\.\d)?$", -1, "+.2f +.1f"),
    (r"drop_standard_error_points$", 1, ".2f .1f"),
    (r"gain_db$", 1, "+.1f"),
    (r"(macs_ratio|size_ratio|speedup\.ratio|sqnr_db)$", 1, ".1f"),
    (r"(parameters|macs)$", 1e-6, "millions"),
    (r"file_bytes$", 1e-6, ".1f"),
    (r"(fps\.\w+|predicted\.fps(_low|_high)?)$", 1, "fps"),
    (r"median_ms$", 1, ".3f"),
    (r"_ms(_low|_high)?$", 1, ".2f"),
    (r"mcnemar_p$", 1, ".2g"),
    (r"(max_relative_difference|relative_logit_difference|limit|tolerance)$", 1, ".1g"),
    (r"terms\.\w+$", 1, ".4f"),
    (r"energy_mj|clocks_mhz\.gpu\.\d|predicted\.memory_mib|nvmap_delta_mib$", 1, ".0f .1f"),
    (r"process_peak_mib$", 1, ".0f .1f"),
    (r"memory\.\w+$|temperatures_c\.(before|peak|after)\.\w+$", 1, ".1f"),
    (r"input_mw\.\*$", 1e-3, "fps"),
    (r"trace\.\w+(\.cpu)?\.\*$", 1, "fps"),
    (r"_s$|^(cost|trained_before)\.\w+$|payback_months$", 1, ".1f"),
    (r"hours_per_month$", 1, "g"),
    (r"per_month$", 1, ",.2f"),
    (r"class_weights\.\w+$", 1, ".2f"),
    (r"temperature$", 1, ""),
    (r"", 1, "d"),
)

# Digits that are no figure of the report, and why.
WITHOUT_KEY = (
    (r"95 % (prediction )?interval", "the level of every interval"),
    (r"top-1|Top-1", "a metric's name"),
    (r"(?i)int8|fp16|fp32|float32|float16", "a precision's name"),
    (r"SHA-256", "a function's name"),
    (r"\bF1\b", "a metric's name"),
    (r"in 15 bins of equal width", "of the calibration error"),
    (r"less than 90 % of its teacher", "the limit below which there is advice"),
    (r"at most 12 of those|at most 12 of each|\b\d+ more left out", "how many pictures a page holds"),
)
