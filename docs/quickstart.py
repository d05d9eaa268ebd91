# %% [markdown]
# # Quickstart
# From one noisy image to a consensus of instance masks with a confidence for each object, in the ten lines that matter.
# Run it as a script, or open it as a notebook (py:percent).

# %%
import divseg
from divseg.workflow.demo import demo_image

noisy, truth, clean = demo_image()  # a real 512x512 image of nuclei with documented camera noise, and its ground truth

# %% Train on the noisy image alone. Take minutes, not steps, for your own images: train_minutes=10
model = divseg.DivNoising.fit([noisy], noise="learned", train_steps=2000, seed=0)
print(model.noise.describe())

# %% Draw clean images from the posterior (lazily), and segment every one of them
samples = model.sample(noisy, n=16, seed=0)
segment = divseg.segmenter("otsu,smooth=1,split=distance")
result = divseg.fuse(segment(samples))

# %% One label image, and how sure we are of each object
print(result.objects[["label", "existence", "mean_iou", "area_mean", "area_std"]].head())

# %% Does it help? The same segmenter on the noisy image, on the MMSE, and the consensus
mmse = model.mmse(noisy, n=16)
for name, labels in {"noisy": segment(noisy), "mmse": segment(mmse), "consensus": result.labels}.items():
    scores = divseg.evaluate(labels, truth)
    print(f"{name:10s} AP50 {scores.ap50:.3f}  mAP {scores.map:.3f}  SEG {scores.seg:.3f}  objects {scores.n_pred}")
