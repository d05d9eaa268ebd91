# %% [markdown]
# # From a run to what is surely right
# A run folder in Python: tables, images, the least certain objects, and what confidences are worth.

# %%
from pathlib import Path
from tempfile import mkdtemp

import divseg
from divseg.workflow.demo import write_demo

folder = Path(mkdtemp())
images, masks = write_demo(folder)  # a real noisy image of nuclei and its ground truth; your own: images = "plate1/"

# %% One line does all of it. For your own images leave out train_steps: ten minutes are the default
result = divseg.run(images, folder / "run", truth=masks, train_steps=1500, samples=16, segmenter="otsu,smooth=1")
run = result.open()
print(run)

# %% What was found: a row for each object, with p_true (if the run could be calibrated), existence and intervals
sure = "p_true" if "p_true" in run.objects else "existence"
print(run.objects[["label", sure, "area", "area_q05", "area_q95"]].describe().round(2))

# %% Which objects to look at first, and where they are
print(run.review[["rank", "image", "label", sure, "centroid_y", "centroid_x"]].head())

# %% Are the sure ones right? The truth tells which objects are true positives
right = run.right == 1
for limit in (0.0, 0.5, 0.9):
    chosen = run.objects[sure] >= limit
    print(f"{sure} of {limit} or more: {chosen.sum():4d} objects, {right[chosen].sum():4d} of them right")

# %% The picture, in a notebook
run.plot(run.names[0])
