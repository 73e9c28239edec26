"""Writes ops.safetensors beside this file: what PIL, timm and torchvision make of small images.

    pip install pillow==13.0.0 timm==1.0.31 torchvision==0.29.2 numpy==2.4.6 safetensors==0.8.0
    python golden/views/make.py

Nothing but this command rewrites the values, and no test runs it. golden/README.md explains the keys.
"""

import json
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image
from safetensors.numpy import save_file
from timm.data import auto_augment as timm_ops
from timm.data.mixup import cutmix_bbox_and_lam
from timm.data.transforms import RandomResizedCropAndInterpolation
from torchvision.transforms import InterpolationMode, TrivialAugmentWide
from torchvision.transforms import functional as tv
from torchvision.transforms.autoaugment import _apply_op

FILL = (124, 116, 104)
RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
FACTORS = [0.0, 0.1, 0.55, 1.0, 1.37, 1.9, 4.0]
MOVES = {
    "shear_x": (timm_ops.shear_x, [-0.3, -0.05, 0.0, 0.17, 0.99]),
    "shear_y": (timm_ops.shear_y, [-0.3, -0.05, 0.0, 0.17, 0.99]),
    "translate_x": (timm_ops.translate_x_abs, [-9.45, -0.5, 0.0, 3.3, 7.0, 40.0]),
    "translate_y": (timm_ops.translate_y_abs, [-9.45, -0.5, 0.0, 3.3, 7.0, 40.0]),
    "rotate": (timm_ops.rotate, [-30.0, -0.001, 0.0, 12.34, 45.0, 90.0, 135.0, 180.0, 270.0, 360.0]),
}
# So far that places leave the range of 16.16 fixed point.
FAR = {"shear_x": [4000.0], "shear_y": [-4000.0]}
LEVELS = {
    "auto_contrast": (timm_ops.auto_contrast, [()]),
    "equalize": (timm_ops.equalize, [()]),
    "invert": (timm_ops.invert, [()]),
    "posterize": (timm_ops.posterize, [(bits,) for bits in (1, 2, 4, 7, 8)]),
    "solarize": (timm_ops.solarize, [(threshold,) for threshold in (0, 1, 128, 200, 256)]),
    "solarize_add": (timm_ops.solarize_add, [(add,) for add in (0, 27, 110, 128)]),
    "color": (timm_ops.color, [(factor,) for factor in FACTORS]),
    "contrast": (timm_ops.contrast, [(factor,) for factor in FACTORS]),
    "brightness": (timm_ops.brightness, [(factor,) for factor in FACTORS]),
    "sharpness": (timm_ops.sharpness, [(factor,) for factor in FACTORS]),
    "hue": (tv.adjust_hue, [(turns,) for turns in (-0.5, -0.1, 0.0, 0.03, 0.25, 0.5)]),
    "mirror": (tv.hflip, [()]),
}
# Which of them each image goes through.
EVERY = [*LEVELS, "grayscale", *MOVES]
OPERATIONS = {
    "photo": EVERY,
    "noise": [*LEVELS, "grayscale", "rotate"],
    "grey": EVERY,
    "flat": [*LEVELS, "grayscale"],
    "thin": [*LEVELS, "grayscale", "shear_x", "rotate"],
    "dark": ["auto_contrast", "equalize", "contrast"],
}
AUTO_POLICIES = ["original", "originalr", "v0", "v0r"]
RAND_POLICIES = ["rand-m9-mstd0.5", "rand-m9-mstd0.5-inc1"]


def images(rng):
    """A picture of the usual kind, noise in a square, grey, and three that have their own ways."""
    rows, columns = np.mgrid[0:14, 0:18]
    waves = [127 + 90 * np.sin(rows / 3 + c) * np.cos(columns / (4 + c)) + 3 * columns - 20 * c for c in range(3)]
    photo = np.clip(np.stack(waves, axis=-1) + rng.normal(0, 12, (14, 18, 3)), 0, 255).astype(np.uint8)
    noise = rng.integers(0, 256, (13, 13, 3)).astype(np.uint8)
    noise[0, :6] = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [77, 77, 77]]
    grey = np.clip(photo[:, :, :1].astype(int).transpose(1, 0, 2) + rng.integers(-9, 9, (18, 14, 1)), 0, 255)
    flat = np.full((5, 6, 3), 200, dtype=np.uint8)
    flat[2:, :, 1], flat[3, 3, 2] = 90, 199
    thin = rng.integers(0, 256, (2, 9, 3)).astype(np.uint8)
    # Large enough that equalize steps by more than one pixel.
    dark = (rng.random((28, 20, 1)) ** 3 * 140 + 20).astype(np.uint8)
    grey = np.ascontiguousarray(grey.astype(np.uint8))
    return {"photo": photo, "noise": noise, "grey": grey, "flat": flat, "thin": thin, "dark": dark}


def picture(array):
    return Image.fromarray(array[:, :, 0]) if array.shape[2] == 1 else Image.fromarray(array)


def array(image):
    values = np.asarray(image)
    return np.ascontiguousarray(values if values.ndim == 3 else values[:, :, None])


def fill(image):
    return FILL if image.mode == "RGB" else FILL[0]


def operations(golden, name, image, names):
    for op, (function, arguments) in LEVELS.items():
        if op not in names:
            continue
        for chosen in arguments:
            key = "/".join(["op", name, op, *map(repr, chosen)])
            golden[key] = array(function(image, *chosen))
    if "grayscale" in names:
        golden[f"op/{name}/grayscale"] = array(tv.to_grayscale(image, len(image.getbands())))
    for op, (function, arguments) in MOVES.items():
        if op not in names:
            continue
        for filter, resample in RESAMPLING.items():
            far = FAR.get(op, []) if filter == "nearest" else []
            for argument in arguments + far:
                moved = function(image, argument, fillcolor=fill(image), resample=resample)
                golden[f"op/{name}/{op}/{argument!r}/{filter}"] = array(moved)


def chance(negative):
    return mock.patch("random.random", return_value=1.0 if negative else 0.0)


def timm_levels(golden, image):
    """Arguments of each operation by level, and operations as timm's policies call them."""
    levels = [0.0, 0.3, 1.0, 2.5, 3.7, 5.0, 7.49, 7.5, 9.0, 9.99, 10.0, 13.0]
    golden["level"] = np.array(levels)
    hparams = dict(img_mean=FILL, interpolation=Image.Resampling.BICUBIC)
    policies = [timm_ops.rand_augment_ops(transforms=names) for names in
                (timm_ops._RAND_TRANSFORMS, timm_ops._RAND_INCREASING_TRANSFORMS, ["PosterizeOriginal"])]
    for name in sorted({op.name for policy in policies for op in policy}):
        argument = timm_ops.LEVEL_TO_ARG[name]
        rows = []
        for negative in (False, True):
            with chance(negative):
                rows.append([argument(level, hparams)[0] if argument else 0.0 for level in levels])
            for level in (3.7, 10.0):
                # Pillow 13 refuses to posterize to 0 bits, to which timm comes there.
                if (name, level) == ("PosterizeIncreasing", 10.0) or (negative and rows[0] == rows[-1]):
                    continue
                op = timm_ops.AugmentOp(name, prob=1.0, magnitude=level, hparams=hparams)
                with chance(negative):
                    golden[f"timm/{name}/{level!r}/{'minus' if negative else 'plus'}"] = array(op(image))
        golden[f"level/{name}"] = np.array(rows, dtype=np.float64)


def trivial(golden, image):
    space = TrivialAugmentWide()._augmentation_space(31)
    for name, (magnitudes, signed) in space.items():
        bins = magnitudes.numpy().astype(np.float32).reshape(-1)
        golden[f"bins/{name}"] = bins
        for chosen in sorted({len(bins) // 4, 2 * len(bins) // 3, len(bins) - 1}):
            for sign in (1.0, -1.0) if signed else (1.0,):
                magnitude = float(bins[chosen]) * sign
                result = _apply_op(image, name, magnitude, InterpolationMode.NEAREST, None)
                golden[f"trivial/{name}/{magnitude!r}"] = array(result)


def rectangles(golden):
    cuts = []
    for height, width, share, row, column in [
        (32, 32, 0.5, 16, 16), (224, 224, 0.3, 0, 223), (7, 9, 0.0, 3, 4), (7, 9, 0.9, 6, 0), (16, 21, 1.0, 5, 5),
        (33, 20, 0.123, 30, 10), (2, 2, 0.75, 1, 0),
    ]:
        with mock.patch("numpy.random.randint", side_effect=[row, column]):
            (top, bottom, left, right), left_over = cutmix_bbox_and_lam((3, height, width), share)
        cuts.append([height, width, share, row, column, top, bottom, left, right, left_over])
    golden["cutmix"] = np.array(cuts, dtype=np.float64)
    middles = []
    for height, width in [(224, 224), (100, 300), (300, 100), (75, 100), (1, 50), (51, 2), (333, 500), (7, 13)]:
        # Twice the area fits nowhere.
        crop = RandomResizedCropAndInterpolation.get_params(
            Image.new("L", (width, height)), (2.0, 2.0), (3.0 / 4.0, 4.0 / 3.0))
        middles.append([height, width, *crop])
    golden["middle"] = np.array(middles, dtype=np.float64)


def policies():
    known = {}
    for name in AUTO_POLICIES:
        pairs = timm_ops.auto_augment_policy(name, dict(img_mean=FILL))
        known[name] = json.dumps([[[op.name, op.prob, op.magnitude] for op in pair] for pair in pairs])
    for name in RAND_POLICIES:
        policy = timm_ops.rand_augment_transform(name, dict(img_mean=FILL))
        known[name] = json.dumps([op.name for op in policy.ops])
    return known


def main():
    golden = {}
    for name, pixels in images(np.random.default_rng(20)).items():
        golden[f"in/{name}"] = pixels
        operations(golden, name, picture(pixels), OPERATIONS[name])
    noise = picture(golden["in/noise"])
    timm_levels(golden, noise)
    trivial(golden, noise)
    rectangles(golden)
    made_with = {name: version(name) for name in ("pillow", "timm", "torchvision", "numpy")}
    metadata = {"fill": json.dumps(FILL), **made_with, **policies()}
    path = Path(__file__).with_name("ops.safetensors")
    save_file(golden, path, metadata=metadata)
    print(f"{path}: {len(golden)} tensors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
