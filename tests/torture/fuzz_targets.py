"""Everything that reads bytes, once: for the seeded corruptions in test_fuzz.py and for coverage_fuzzing.py."""

import fuzz_board_answers as board_answers
import fuzz_board_system as board_system
import fuzz_bundle_files as bundle_files
import fuzz_workstation as workstation

# name -> (folder -> Target, inputs in the three modes; what takes longer gets fewer)
TARGETS = {
    "telemetry": (board_system.telemetry_texts, (100, 6000, 15_000)),
    "sensors": (board_system.sensors, (60, 2000, 3000)),
    "trtexec": (board_system.trtexec_output, (200, 3000, 10_000)),
    "engine layers": (board_system.engine_layers, (200, 3000, 10_000)),
    "engine record": (bundle_files.engine_record, (100, 3000, 5000)),
    "calibration cache": (bundle_files.calibration_cache, (300, 5000, 15_000)),
    "manifest": (bundle_files.manifest, (300, 5000, 15_000)),
    "benchmark report": (bundle_files.benchmark_report, (300, 5000, 15_000)),
    "bundle archive": (bundle_files.bundle_archive, (100, 2000, 4000)),
    "archive of another manifest": (bundle_files.archive_of_another_manifest, (60, 1500, 3000)),
    "signature": (bundle_files.signatures, (10, 200, 300)),
    "board files": (bundle_files.board_files, (20, 500, 1000)),
    "image": (board_system.images, (150, 3000, 8000)),
    "behind an image": (board_system.behind_the_image, (150, 2000, 5000)),
    "16-bit range": (board_system.sixteen_bits, (150, 2000, 5000)),
    "EXIF": (board_system.exif, (100, 2000, 5000)),
    "protocol lines": (board_answers.protocol_lines, (100, 2000, 5000)),
    "words of ssh": (board_answers.words_of_ssh, (300, 3000, 10_000)),
    "receipts": (board_answers.receipts, (30, 500, 1000)),
    "fleet": (board_answers.fleet_file, (100, 2000, 4000)),
    "learned reports": (board_answers.learned_reports, (100, 2000, 4000)),
    "compared runs": (board_answers.compared_runs, (15, 200, 300)),
    "recipe": (workstation.recipe, (100, 2000, 4000)),
    "csv": (workstation.csv, (150, 3000, 5000)),
    "parquet": (workstation.parquet, (60, 1000, 3000)),
    "shard": (workstation.shard, (100, 2000, 4000)),
    "onnx": (workstation.onnx, (60, 1000, 3000)),
    "safetensors": (workstation.safetensors, (20, 300, 500)),
    "torch file": (workstation.torch_file, (10, 200, 300)),
}
