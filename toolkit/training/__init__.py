"""LoRA training with the Hugging Face Trainer."""
