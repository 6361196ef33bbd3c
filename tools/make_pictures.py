"""Makes docs/pictures/*.png, the pictures of the README and the docs, from pictures.json there.

    python=$(tools/python_environment.sh page)
    $python tools/make_pictures.py              # all of them
    $python tools/make_pictures.py heads spans  # some

It runs build/release/pythiascope, or $PYTHIASCOPE_PROGRAM, and opens the pages in Chromium.
Members of an entry: tests/page/picture_list.py. Texts have this machine's fonts.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    import numpy as np
    from PIL import Image
    from playwright.sync_api import Browser, sync_playwright
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

Colors = np.ndarray[Any, np.dtype[np.int64]]
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/page"))
try:
    from at_rest import prepare, watch  # noqa: E402
    from opened_page import find_browser  # noqa: E402
    from page_files import Maker  # noqa: E402
    from picture_list import FOLDER, Picture, arrange, read_pictures  # noqa: E402
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

SCALE = 1.5  # pixels of a picture per CSS pixel: sharp when it is shown about 800 pixels wide
MARGIN = 8  # CSS pixels of paper around an element
FREQUENT = 64  # colors of the palette that are there because they are frequent
MOST_BYTES = 1_500_000  # of all pictures


def choose_palette(colors: Colors, counts: Colors) -> Colors:
    """At most 256 of the colors [n, 3]: the most frequent, then those that lack a near one most."""
    chosen = list(np.argsort(-counts, kind="stable")[:FREQUENT])
    distance = np.full(len(colors), np.inf)
    for index in chosen:
        distance = np.minimum(distance, ((colors - colors[index]) ** 2).sum(1))
    while len(chosen) < 256 and distance.any():
        chosen.append(int((distance * np.sqrt(counts)).argmax()))
        distance = np.minimum(distance, ((colors - colors[chosen[-1]]) ** 2).sum(1))
    return colors[chosen]


def shrink(png: bytes) -> bytes:
    """A screenshot as a PNG with a palette: without loss if it has at most 256 colors."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(np.int64)
    codes = pixels @ np.array([65536, 256, 1])
    found, where, counts = np.unique(codes, return_inverse=True, return_counts=True)
    colors = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1)
    palette = choose_palette(colors, counts)
    nearest = [((palette - color) ** 2).sum(1).argmin() for color in colors]
    image = Image.fromarray(np.array(nearest, np.uint8)[where].reshape(codes.shape))
    image.putpalette(palette.astype(np.uint8).tobytes())
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def photograph(browser: Browser, html: Path, picture: Picture, theme: str) -> bytes:
    """A picture of the page in a theme, as PNG."""
    context = browser.new_context(
        viewport={"width": picture.width, "height": picture.height},
        device_scale_factor=SCALE,
        color_scheme=theme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    prepare(context)
    page = watch(context.new_page())
    page.goto(html.resolve().as_uri())
    page.locator("html[data-ready]").wait_for(state="attached")
    shown = arrange(page, picture)
    if not picture.show:
        page.evaluate("scrollTo(0, 0)")
        png = page.screenshot()
    else:
        box = shown.bounding_box()
        assert box is not None, picture.file
        box["x"], box["y"] = box["x"] - MARGIN, box["y"] - MARGIN
        box["width"], box["height"] = box["width"] + 2 * MARGIN, box["height"] + 2 * MARGIN
        png = page.screenshot(clip=box)
    context.close()
    return png


def main() -> None:
    """Makes the pictures that the command line names, or all."""
    names = sys.argv[1:]
    pictures = [picture for picture in read_pictures() if not names or picture.file in names]
    program = os.environ.get("PYTHIASCOPE_PROGRAM") or str(ROOT / "build/release/pythiascope")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        made = Maker(program, Path(folder))
        browser = find_browser(driver)
        for picture in pictures:
            html = made(*picture.arguments).html
            for theme, file in zip(picture.themes, picture.files):
                png = shrink(photograph(browser, html, picture, theme))
                (FOLDER / file).write_bytes(png)
                print(f"docs/pictures/{file}: {len(png):,} bytes")
        browser.close()
    total = sum(path.stat().st_size for path in FOLDER.glob("*.png"))
    print(f"all pictures: {total:,} bytes")
    if total > MOST_BYTES:
        sys.exit(f"make_pictures: docs/pictures has more than {MOST_BYTES:,} bytes; remove some")


if __name__ == "__main__":
    main()
