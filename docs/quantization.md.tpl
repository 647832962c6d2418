# What int8 costs and buys

`toolkit export --quantize int8` fuses the graph first (attention, residual sums with their normalisation, biases with their
GELU), then quantises it with onnxruntime's dynamic quantisation: weights int8 per channel, activations uint8 as they come,
one scale a review, `reduce_range` so that CPUs without VNNI do not saturate. The gate: on at least 2,000 reviews, at most
1% of the labels may differ from the adapter's and at most 0.3 points of accuracy may be lost.

The tables are printed by

    python benchmarks/quantization.py --adapter lora_model --proof build/imdb/validation.csv

on @@CPU@@, two cores, the shipped adapter, validation reviews that it was not trained on, one review at a time on
each core, every model in turn. `flips` are labels that differ from the float graph's; `speed` is the ratio of reviews/s.
On a CPU with AVX2 alone int8 gains less speed; the differences in logits are the same there, since `reduce_range` keeps the
sums exact.

## Layer by layer

One kind of layer, or one layer alone, in int8, everything else in float:

@@TABLE1@@

## Recipes

@@TABLE2@@

@@READING@@
