"""Inference at 224x224, batch 32, f32, with PyTorch and timm: images a second in each memory format.

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 timm==1.0.31
    venv/bin/python benches/pytorch_inference.py [--threads 2] [NAME ...]

Prints a line of JSON for each network: medians over 10 rounds after 2 that do not count.
"""
import argparse
import json
import statistics
import time

import timm
import torch

NETWORKS = [
    "swin_tiny_patch4_window7_224",
    "vit_small_patch16_224",
    "convnext_tiny",
    "mixer_b16_224",
    "resnet18",
    "mobilenetv2_100",
]
BATCH, SIDE, WARM_UP, ROUNDS = 32, 224, 2, 10


def rate(network, images):
    seconds = []
    with torch.inference_mode():
        for _ in range(WARM_UP + ROUNDS):
            began = time.perf_counter()
            network(images)
            seconds.append(time.perf_counter() - began)
    return BATCH / statistics.median(seconds[WARM_UP:])


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("names", nargs="*", default=NETWORKS)
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in arguments.names:
        rates = {}
        for label, layout in [("contiguous", torch.contiguous_format), ("channels_last", torch.channels_last)]:
            network = timm.create_model(name, num_classes=1000).eval().to(memory_format=layout)
            images = torch.rand(BATCH, 3, SIDE, SIDE).to(memory_format=layout)
            rates[label] = round(rate(network, images), 2)
        best = max(rates.values())
        print(json.dumps({"network": name, "torch": torch.__version__, **rates, "best": best}), flush=True)


if __name__ == "__main__":
    main()
