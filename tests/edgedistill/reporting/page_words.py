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
        ("points lost", f"{{{LADDER}.drop_points}}"),
        (
            "95 % interval",
            f"unknown; standard error {{{LADDER}.drop_standard_error_points}}"
            f"|{{{LADDER}.drop_interval_points.0}} to {{{LADDER}.drop_interval_points.1}}",
        ),
        ("same class as float", f"{{{LADDER}.agreement_fraction}} %"),
        ("logit SQNR", f"{{{LADDER}.sqnr_db}} dB|equal"),
        ("how", None),
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
        ("interval", f"{{{NET}.top1_interval.0}} % to {{{NET}.top1_interval.1}} %"),
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
        ("loop", None),
        ("seconds", "{devices.D.trace.loops.N.end_s - devices.D.trace.loops.N.start_s}"),
        ("readings", None),
        *((head, f"{{devices.D.trace.{key}.*}}( to {{devices.D.trace.{key}.*}})?") for head, key in READINGS),
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
    "Time and digest of each stage": [("stage", None), ("seconds", "{cost.ROW}"), ("SHA-256", None)],
    "Packages": [("package", None), ("version", None)],
}

ROWS = {
    "computing, as the device times it": "compute",
    "network alone": "host",
    "from the image file": "end_to_end",
    "process, resident, peak": "process",
    "system, available, least": "available",
    "GPU driver (NvMap), most": "nvmap",
}
EXTREMES = {"process": "peak", "available": "least", "nvmap": "most"}

# What stands between which words. D: a host; P: a pair of networks; N: an image; METRIC and WORDS: the recipe's.
PROSE = """
The student keeps {retention_fraction} % measured here of its teacher's WORDS with {macs_ratio}\u00d7 counted fewer \
multiply-adds in a file {size_ratio}\u00d7 counted smaller. Against the same student without a teacher: \
{gain.points} points measured here,
One image takes {devices.D.latency_ms.host.p50_ms} ms
On Jetson Nano 4GB {predicted.fps} FPS predicted are expected of the network alone ({predicted.fps_low} to \
{predicted.fps_high}, extrapolated).
Retention of WORDS {retention_fraction} %measured here {student.METRIC} % of {teacher.METRIC} %, \
{test_images} test images
Gain over no teacher {gain.points}measured here points, 95 % interval {gain.interval_points.0} to \
{gain.interval_points.1}, {gain.seeds} seed
Speed-up over the teacher {speedup.ratio}\u00d7stand-in {speedup.student_p50_ms} against {speedup.teacher_p50_ms} ms
ONNX file, float32 {student.file_bytes} MBcounted {size_ratio}\u00d7 smaller than the teacher; {student.parameters} M \
parameters, {student.macs} M multiply-adds
From image file to class, ANY {devices.D.fps.end_to_end} FPSANY {devices.D.fps.host} FPS the network alone; \
{devices.D.memory.process_peak_mib} MiB at the peak
From image file to class, ANY {devices.D.fps.end_to_end} FPSANY {devices.D.fps.host} FPS the network alone; \
{devices.D.memory.process_peak_mib + devices.D.memory.nvmap_delta_mib} MiB at the peak
the network alone {predicted.fps} FPSpredicted {predicted.interval_share} % interval {predicted.fps_low} to \
{predicted.fps_high}; about {predicted.memory_mib} MiB, an estimate
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
Between teacher and student (ANY): resnet18 {links.0.METRIC} %, mobilenetv2_100 {links.1.METRIC} %
judged on the same {swept.images} validation images
Student and teacher say the same on {teacher_agreement_fraction} % of the test images
Of {disagreements.P.images} test images, {disagreements.P.apart} get another class. Both right: \
{disagreements.P.both_right}; only the ANY: {disagreements.P.first_only_right}; only the ANY: \
{disagreements.P.second_only_right}; both wrong, alike: {disagreements.P.both_wrong_alike}; both wrong, each in its \
own way: {disagreements.P.both_wrong_apart}
true LABEL FIRST SAID {disagreements.P.shown.N.first.probability} % SECOND SAID \
{disagreements.P.shown.N.second.probability} %
while the network works: {devices.D.fps.pipelined} FPS
, {devices.D.power.energy_mj} mJ an image of the whole input
GPU {devices.D.conditions.clocks_mhz.gpu.2} of {devices.D.conditions.clocks_mhz.gpu.1} MHz
came out within {devices.D.verify.max_relative_difference} of the largest logit (limit {devices.D.verify.tolerance}) \
on {devices.D.verify.images} images
medians of {devices.D.layer_times.runs} profiled runs after the timed ones. Profiling slows, and what lies between \
layers is in none: their sum, {devices.D.layer_times.sum_ms} ms, is not the latency \
({devices.D.latency_ms.host.p50_ms} ms)
The student is {speedup.ratio}\u00d7 stand-in as fast as its teacher on this computer ({speedup.student_p50_ms} \
against {speedup.teacher_p50_ms} ms, timed in turn)
predicted {predicted.fps} FPS ({predicted.fps_low} to {predicted.fps_high}) on Jetson Nano 4GB, the network alone.
The board has paid for itself after {running_cost.payback_months} months.
each on {running_cost.hours_per_month} hours a month
The student was taught on {taught.student_images} images counted; the baseline learnt from {taught.baseline_images}
The student was taught on {taught.student_images} images counted, among them images of an unlabelled pool of \
{taught.pool_images}, which only the teacher labelled; the baseline learnt from {taught.baseline_images} labelled ones
by its class counted: dent {taught.class_weights.dent}, good {taught.class_weights.good}.
student {taught.best_epochs.student.0} of {taught.best_epochs.student.1}
{data.images_in_groups} images in {data.near_duplicate_groups} groups of look-alikes, each kept in one split; \
{data.exact_duplicates} exact copies; {data.leak_count} leaks between splits; {data.unreadable_count} unreadable
""".strip().split("\n")

# How a number is written, by the end of its key: factor, format, and what takes the place of a minus sign.
FORMATS = (
    (r"(_fraction|top1_interval\.\d|per_class_recall\.[^.]+|students\.\d+\.value|\.share)$", 100, ".1f"),
    (r"(probability|interval_share)$", 100, ".0f"),
    (r"^gain\.(top1_)?(points|interval_points|points_interval)(\.\d)?$|over_seeds\.gain\.mean_points$", 1, "+.1f"),
    (r"^gain\.over_seeds\.", 1, ".1f"),
    (r"drop_(standard_error_|interval_)?points(\.\d)?$", 1, ".2f"),
    (r"(macs_ratio|size_ratio|speedup\.ratio|sqnr_db)$", 1, ".1f"),
    (r"(parameters|macs)$", 1e-6, "millions"),
    (r"file_bytes$", 1e-6, ".1f"),
    (r"(fps\.\w+|predicted\.fps(_low|_high)?)$", 1, "fps"),
    (r"median_ms$", 1, ".3f"),
    (r"_ms(_low|_high)?$", 1, ".2f"),
    (r"mcnemar_p$", 1, ".2g"),
    (r"(max_relative_difference|tolerance)$", 1, ".1g"),
    (r"terms\.\w+$", 1, ".4f"),
    (r"energy_mj|clocks_mhz\.gpu\.\d|predicted\.memory_mib|nvmap_delta_mib$", 1, ".0f .1f"),
    (r"process_peak_mib$", 1, ".0f .1f"),
    (r"memory\.\w+$|temperatures_c\.(before|peak|after)\.\w+$", 1, ".1f"),
    (r"input_mw\.\*$", 1e-3, "fps"),
    (r"trace\.\w+(\.cpu)?\.\*$", 1, "fps"),
    (r"_s$|^cost\.\w+$|payback_months$", 1, ".1f"),
    (r"hours_per_month$", 1, "g"),
    (r"per_month$", 1, ",.2f"),
    (r"class_weights\.\w+$", 1, ".2f"),
    (r"temperature$", 1, ""),
    (r"", 1, "d"),
)

# Digits that are no figure of the report, and why.
WITHOUT_KEY = (
    (r"95 % interval", "the level of every interval"),
    (r"top-1|Top-1", "a metric's name"),
    (r"(?i)int8|fp16|fp32|float32|float16", "a precision's name"),
    (r"SHA-256", "a function's name"),
    (r"less than 90 % of its teacher", "the limit below which there is advice"),
    (r"at most 12 of those|\b\d+ more left out", "how many pictures a page holds"),
)
