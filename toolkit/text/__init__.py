"""From a review to token ids: normalisation, tokenisation, truncation, labels."""
