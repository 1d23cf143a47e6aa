"""Names of the files that stages write and later ones read. Their folder is the stage's own."""

WEIGHTS = "weights.safetensors"  # teacher, baseline, distill, assist
STUDENT, TEACHER = "student.onnx", "teacher.onnx"  # export
AMAX, INT8, FP16 = "amax.json", "student_int8.onnx", "student_fp16.onnx"  # quantize
PREPARED = "student_int8_weights.onnx"  # quantize: float, with the weights that INT8 is made from; amax.json is its own
TYPED_INT8 = "student_int8_fp16.onnx"  # quantize: FP16 around the Q/DQ nodes
TRAINED = "trained-{}.json"  # in a folder of trainings, by number: what a finished one says of itself
TEST_LOGITS = "test_logits.npz"  # evaluate: of each network; quantize: of each precision
GALLERY = "gallery.npz"  # decide, of a student without classes
SYNTHESISED_SHEET = "images.png"  # synthesise
SWEEP = "sweep/sweep.json"  # in a run folder, of `edgedistill sweep`
