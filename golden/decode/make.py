"""Writes the images of this folder and what PIL makes of them.

    python make.py FOLDER

A file NAME has NAME.rgb beside it: `Image.open(NAME).convert("RGB")` as height and width (little-endian u16) and then
rows of red, green and blue, compressed by zlib. NAME.upright.rgb is the same after `ImageOps.exif_transpose`. Nothing is
drawn by chance: the pattern is a formula.
"""

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HEIGHT, WIDTH = 24, 40
y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
# Smooth, so that what decoders may differ in (inverse transforms, upsampled chroma) stays small.
ramp = np.stack([6 * x + y, 255 - 4 * x - 3 * y, 10 * y], axis=-1).clip(0, 255).astype(np.uint8)
alpha = (5 * x + 2 * y).clip(0, 255).astype(np.uint8)
ink = (3 * x).clip(0, 255).astype(np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16(samples, color):
    """A 16-bit PNG file, which PIL does not write in colour."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples.reshape(HEIGHT, -1))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, color, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def ycck(image, path):
    """A CMYK image as Adobe's programs write it: transformed to YCCK, which PIL reads and does not write."""
    red, green, blue, black = (255 - np.asarray(image.getchannel(c), np.uint8) for c in range(4))
    # libjpeg takes four channels as they come; the marker alone says what they are. Adobe stores C' = 255 − C for C
    # of ink, and of C', M', Y' the YCbCr of 255 − C', 255 − M', 255 − Y' (libjpeg, jdcolor.c, `ycck_cmyk_convert`).
    inks = Image.fromarray(np.stack([255 - red, 255 - green, 255 - blue], -1), "RGB")
    y_cb_cr = np.asarray(inks.convert("YCbCr"))
    stored = np.concatenate([y_cb_cr, black[..., None]], -1)
    # PIL inverts what it writes.
    Image.frombytes("CMYK", image.size, (255 - stored).tobytes()).save(path, quality=95, subsampling=0)
    data = bytearray(path.read_bytes())
    marker = data.index(b"Adobe")
    assert data[marker + 11] == 0
    data[marker + 11] = 2
    path.write_bytes(bytes(data))


def main(folder):
    rgb = Image.fromarray(ramp, "RGB")
    rgba = Image.fromarray(np.concatenate([ramp, alpha[..., None]], -1), "RGBA")
    grey_alpha = Image.fromarray(np.stack([ramp[..., 0], alpha], -1), "LA")
    cmyk = Image.fromarray(np.concatenate([ramp, ink[..., None]], -1), "CMYK")
    palette = rgb.quantize(32)
    deep = ramp.astype(np.uint16) * 256 + 255 - ramp

    rgba.save(folder / "alpha.png")
    rgba.save(folder / "alpha.webp", lossless=True, exact=True)
    grey_alpha.save(folder / "grey_alpha.png")
    palette.save(folder / "palette.png")
    palette.save(folder / "palette_clear.png", transparency=3)
    rgb.quantize(4).save(folder / "palette_2_bits.png", bits=2)
    rgb.convert("1").save(folder / "one_bit.png")
    palette.save(folder / "palette.bmp")
    (folder / "deep.png").write_bytes(png16(deep, 2))
    (folder / "deep_alpha.png").write_bytes(png16(np.concatenate([deep, deep[..., :1]], -1), 6))
    (folder / "deep_grey_alpha.png").write_bytes(png16(deep[..., :2], 4))
    cmyk.save(folder / "cmyk.jpg", quality=95)
    ycck(cmyk, folder / "ycck.jpg")
    rgb.save(folder / "colours.jpg", quality=95)
    rgb.convert("L").save(folder / "grey.jpg", quality=95)
    rgb.save(folder / "colours.tiff")
    rgb.save(folder / "deflate.tiff", compression="tiff_adobe_deflate")
    rgb.save(folder / "lzw.tif", compression="tiff_lzw")
    rgba.save(folder / "alpha.tiff")
    rgb.convert("L").save(folder / "grey.tiff")
    rgb.convert("1").save(folder / "one_bit.tiff")
    cmyk.save(folder / "cmyk.tiff")
    for number in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = number
        rgb.save(folder / f"turned_{number}.jpg", quality=95, exif=exif)
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb.save(folder / "turned_6.png", exif=exif)
    rgb.save(folder / "turned_6.webp", exif=exif, lossless=True)
    rgb.save(folder / "turned_6.tiff", tiffinfo={0x0112: 6})

    for path in sorted(folder.iterdir()):
        if path.suffix in (".py", ".rgb"):
            continue
        store(Image.open(path), path.with_name(path.name + ".rgb"))
        if path.stem.startswith("turned"):
            store(ImageOps.exif_transpose(Image.open(path)), path.with_name(path.name + ".upright.rgb"))


def store(image, path):
    image = image.convert("RGB")
    raw = struct.pack("<HH", image.height, image.width) + image.tobytes()
    path.write_bytes(zlib.compress(raw, 9))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
