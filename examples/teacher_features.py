"""A teacher of another framework: looks at the views that `hcd views` wrote, and writes what it says of them.

    hcd views recipes/demo.toml --set data.views.bank=5 --out views
    python examples/teacher_features.py views answers.safetensors --model resnet18 --classes 10 --checkpoint teacher.pth
    hcd distill recipes/demo.toml --set data.views.bank=5 --teacher-features answers.safetensors

Any network will do that gives a feature a sample and logits, or the layer between the two. pip install timm safetensors
"""
import argparse
from pathlib import Path

import timm
import torch
from safetensors import safe_open
from safetensors.torch import save_file


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("views", type=Path, nargs="+", help="folders of `hcd views`, one a seed")
    arguments.add_argument("answers", type=Path)
    arguments.add_argument("--model", required=True)
    arguments.add_argument("--classes", type=int, required=True)
    arguments.add_argument("--checkpoint", default="")
    arguments.add_argument("--mean", type=float, nargs="+", help="what it was trained with, where timm does not know")
    arguments.add_argument("--std", type=float, nargs="+")
    arguments.add_argument("--batch-size", type=int, default=64)
    arguments = arguments.parse_args()
    files = [path for folder in arguments.views for path in sorted(folder.glob("view-*.safetensors"))]
    with safe_open(files[0], "pt") as file:
        channels = file.get_slice("images").get_shape()[1]
    network = timm.create_model(
        arguments.model, num_classes=arguments.classes, in_chans=channels, checkpoint_path=arguments.checkpoint
    ).eval()
    known = network.pretrained_cfg
    normalise = statistics(arguments.mean or known["mean"], arguments.std or known["std"], channels)
    answers = {"features": [], "logits": [], "ids": [], "views": [], "seeds": []}
    for path in files:
        with safe_open(path, "pt") as file:
            images, ids, about = file.get_slice("images"), file.get_tensor("ids"), file.metadata()
            for first in range(0, len(ids), arguments.batch_size):
                features, logits = look(network, normalise(images[first : first + arguments.batch_size]))
                answers["features"].append(features.half())
                answers["logits"].append(logits.half())
            answers["ids"].append(ids)
            answers["views"].append(torch.full_like(ids, int(about["view"])))
            answers["seeds"].append(torch.full_like(ids, int(about["seed"])))
    tensors = {name: torch.cat(parts).contiguous() for name, parts in answers.items()}
    # Of which data and views: `hcd` refuses answers about others.
    save_file(tensors, arguments.answers, metadata={key: about[key] for key in ("data", "policy")})


def statistics(mean, std, channels):
    """Pixels from 0 to 1, normalised as the network was trained; grey ones by the mean over colours."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
    if channels == 1:
        mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
    return lambda images: (images - mean) / std


@torch.inference_mode()
def look(network, images):
    features = network.forward_head(network.forward_features(images), pre_logits=True)
    return features, network.get_classifier()(features)


if __name__ == "__main__":
    main()
