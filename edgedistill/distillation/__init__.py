"""What a student learns from: losses on logits and features, the cached outputs of a teacher."""
