"""Training of autoencoders (stage 1), of quantisers alone, and of generative models (stage 2).

`session` keeps the files of a cell's folder and calls `train` of `stage1`, `frozen` or `stage2`.
`frozen` hands its step to the training of `stage1`. `loop` goes through epochs and batches.
"""
