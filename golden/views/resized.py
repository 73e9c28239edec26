"""Writes `resized.safetensors`: images brought to other sizes by timm and torchvision on PIL images.

    pip install timm==1.0.31 torchvision==0.29.2 pillow==13.0.0 safetensors
    python resized.py FOLDER

`in/NAME` are images (H, W, C). `eval/NAME/SIZE/CROP/FILTER` is what timm's `create_transform(is_training=False)` shows of
them, `crop/NAME/TOP/LEFT/HEIGHT/WIDTH/SIZE/FILTER` what torchvision's `resized_crop` does, as timm calls it for
`RandomResizedCropAndInterpolation`. Metadata: the versions.
"""

import sys
from pathlib import Path

import numpy as np
import PIL
import timm
import torchvision
from PIL import Image
from safetensors.numpy import save_file
from timm.data import create_transform
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

FILTERS = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
# Size and share; top, left, height, width and size.
EVALS = [(24, 0.875), (24, 1.0), (40, 0.9), (64, 0.875)]
CROPS = [(0, 0, 41, 59, 24), (3, 7, 30, 31, 24), (10, 20, 9, 13, 32), (5, 5, 24, 24, 24), (40, 0, 1, 59, 16)]


def picture(array):
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def array(image):
    found = np.asarray(image)
    return np.ascontiguousarray(found[..., None] if found.ndim == 2 else found)


def main(folder):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:41, 0:59]
    smooth = np.stack([4 * x, 255 - 6 * y, 2 * x + 3 * y], -1).clip(0, 255).astype(np.uint8)
    noise = rng.integers(0, 256, (41, 59, 3), np.uint8)
    images = {"noise": noise, "smooth": smooth, "grey": noise[..., :1], "tall": noise.transpose(1, 0, 2)}
    images = {name: np.ascontiguousarray(image) for name, image in images.items()}
    golden = {f"in/{name}": image for name, image in images.items()}
    for name, image in images.items():
        for text, mode in FILTERS.items():
            for size, share in EVALS:
                shown = create_transform(size, interpolation=text, crop_pct=share, is_training=False)
                # Tensors and their normalisation are left out.
                seen = picture(image)
                for step in shown.transforms[:2]:
                    seen = step(seen)
                golden[f"eval/{name}/{size}/{share}/{text}"] = array(seen)
            if name != "tall":
                for top, left, height, width, size in CROPS:
                    seen = F.resized_crop(picture(image), top, left, height, width, [size, size], mode)
                    golden[f"crop/{name}/{top}/{left}/{height}/{width}/{size}/{text}"] = array(seen)
    versions = {"pillow": PIL.__version__, "timm": timm.__version__, "torchvision": torchvision.__version__}
    save_file(golden, folder / "resized.safetensors", metadata=versions)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
