"""The loader (`crates/hcd/benches/loader.rs`) beside PyTorch's DataLoader over PIL, torchvision and timm: images a second,
and their ratio.

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 torchvision timm==1.0.31 "pillow<12"
    venv/bin/python benches/loader.py photos imagenette [--threads 2] [--repeats 3] [--rounds 4]
    venv/bin/python benches/loader.py small cifar-10

A work and the folder of a data set (`train/CLASS/*`, a part to test on beside it). The programs run in turn, each in a
process of its own, `repeats` times; of a process the median of its rounds counts, the table has the median over
processes, and the lowest and highest. PyTorch runs `--threads` workers, in two ways: `torchvision` makes tensors and
normalises in the workers, as its reference scripts do; `timm` keeps 8 bits there and normalises batches in the main
process, as `timm.data.create_loader` does. The best counts. Small images are held decoded in memory on both sides. Files
had better be in the page cache: run it twice. (timm 1.0.31's RandAugment asks PIL to keep 0 bits, which Pillow 12 and later refuses.) Nothing else should run on the machine.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

# Of `WORKS` and `WARM_UPS` in loader.rs.
BATCH = {"photos": (32, 64), "photos-strong": (32, 64), "small": (128, 80), "small-strong": (128, 80)}
WARM_UPS = 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RAND = "rand-m9-mstd0.5-inc1"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("work", choices=BATCH)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--rounds", type=int, default=4)
    arguments.add_argument("--torch", choices=["torchvision", "timm"], help=argparse.SUPPRESS)
    arguments = arguments.parse_args()
    if arguments.torch:
        return run_torch(arguments)
    ours = build()
    common = [arguments.work, str(arguments.data), "--rounds", str(arguments.rounds)]
    programs = {"ours": [ours, *common]}
    for pipeline in ["torchvision", "timm"]:
        own = [sys.executable, __file__, *common, "--torch", pipeline, "--threads", str(arguments.threads)]
        programs[pipeline] = own
    rates = {name: [] for name in programs}
    memory = dict.fromkeys(programs, 0)
    for _ in range(arguments.repeats):
        for name, command in programs.items():
            environment = {**os.environ, "RAYON_NUM_THREADS": str(arguments.threads)}
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            result = json.loads(done.stdout.splitlines()[-1])
            rates[name].append(result["images"] / statistics.median(result["seconds"]))
            memory[name] = max(memory[name], result["peak_mib"])
    middle = {name: statistics.median(values) for name, values in rates.items()}
    best = max(["torchvision", "timm"], key=middle.get)
    shown = lambda name: f"{middle[name]:.0f} ({min(rates[name]):.0f}–{max(rates[name]):.0f})"
    print("| work | here | PyTorch best | ratio | MiB here | MiB PyTorch best |")
    print("|---|---|---|---|---|---|")
    ratio = middle["ours"] / middle[best]
    rate = f"| {arguments.work} | {shown('ours')} | {shown(best)}, {best} | {ratio:.2f} |"
    print(f"{rate} {memory['ours']} | {memory[best]} |", flush=True)
    print(json.dumps({"work": arguments.work, "rates": rates}), file=sys.stderr, flush=True)


def build():
    """The benchmark's program."""
    command = ["cargo", "bench", "--workspace", "--bench", "loader", "--no-run", "--message-format=json"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    messages = [json.loads(line) for line in lines]
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "loader")


# What runs in the processes of PyTorch.


def run_torch(arguments):
    batch, count = BATCH[arguments.work]
    batches = loader(arguments, batch)

    def take(number):
        began = time.perf_counter()
        for _ in range(number):
            next(batches)
        return time.perf_counter() - began

    take(WARM_UPS)
    seconds = [take(count) for _ in range(arguments.rounds)]
    # Of this process and its largest worker; what they share counts twice.
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) // 1024
    print(json.dumps({"images": batch * count, "seconds": seconds, "peak_mib": peak}))


def loader(arguments, batch):
    """Batches without end."""
    import timm.data
    import torch
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    torch.manual_seed(0)
    small, strong = arguments.work.startswith("small"), arguments.work.endswith("strong")
    images = ImageFolder(arguments.data / "train")
    if small:
        images = Decoded(images)
    size = images[0][0].size[0] if small else 224
    own = arguments.torch == "timm"
    crop = timm.data.transforms.RandomResizedCropAndInterpolation(size, interpolation="random")
    varied = [transforms.RandomCrop(size, 4) if small else crop, transforms.RandomHorizontalFlip()]
    if strong:
        fill = {"translate_const": int(size * 0.45), "img_mean": tuple(round(255 * mean) for mean in MEAN)}
        varied.append(timm.data.auto_augment.rand_augment_transform(RAND, fill))
    erase = timm.data.random_erasing.RandomErasing(0.25, mode="const", device="cpu")
    mixup = timm.data.Mixup(0.8, 1.0, num_classes=len(images.classes)) if strong and not small else None
    if own:
        varied.append(timm.data.transforms.ToNumpy())
    else:
        varied += [transforms.ToTensor(), transforms.Normalize(MEAN, STD), *([erase] if strong else [])]
    images.transform = transforms.Compose(varied)
    made = torch.utils.data.DataLoader(
        images,
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=arguments.threads,
        persistent_workers=True,
        collate_fn=timm.data.loader.fast_collate if own else None,
    )
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (MEAN, STD))
    while True:
        for pixels, labels in made:
            if own:
                pixels = pixels.float().sub_(mean).div_(std)
                pixels = erase(pixels) if strong else pixels
            yield mixup(pixels, labels) if mixup else (pixels, labels)


class Decoded:
    """The images of a set, decoded once, as torchvision's `CIFAR10` holds them."""

    def __init__(self, images):
        import numpy as np

        self.classes, self.transform = images.classes, None
        self.pixels = np.stack([np.asarray(image) for image, _ in images])
        self.labels = images.targets

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        from PIL import Image

        image = Image.fromarray(self.pixels[index])
        return (self.transform(image) if self.transform else image), self.labels[index]


if __name__ == "__main__":
    main()
