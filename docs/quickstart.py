# %% [markdown]
# # Quickstart
# From one noisy image to a consensus of instance masks with a confidence for each object, in a few lines.
# Run it as a script, or open it as a notebook (py:percent).

# %%
import divseg
from divseg.workflow.demo import demo_image

noisy, truth, clean = demo_image()  # a real 512x512 image of nuclei with documented camera noise, and its ground truth

# %% Train on the noisy image alone. For your own images give minutes instead of steps: train_minutes=10
model = divseg.DivNoising.fit([noisy], noise="learned", train_steps=2000, seed=0)
print(model.noise.describe())

# %% Draw clean images from the posterior, lazily, and segment each of them
samples = model.sample(noisy, n=16, seed=0)
segment = divseg.segmenter("otsu,smooth=1,split=distance")
result = divseg.fuse(segment(samples))

# %% One label image, and a confidence for each object
print(result.objects[["label", "existence", "mean_iou", "area_mean", "area_std"]].head())

# %% Does it help? Scores of the same segmenter on the noisy image and on the MMSE, and of the consensus
mmse = model.mmse(noisy, n=16)
for name, labels in {"noisy": segment(noisy), "mmse": segment(mmse), "consensus": result.labels}.items():
    scores = divseg.evaluate(labels, truth)
    print(f"{name:10s} AP50 {scores.ap50:.3f}  mAP {scores.map:.3f}  SEG {scores.seg:.3f}  objects {scores.n_pred}")
