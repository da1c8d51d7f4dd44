"""Take the README's pictures of the page, with the drawn faces.

python app.py --port 7860 &
python -m benchmarks.screenshot http://127.0.0.1:7860 docs/page.jpg
python -m benchmarks.screenshot http://127.0.0.1:7860 docs/explore.jpg --tab explore --height 1180
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]


def show_image(page: Page, image: str) -> None:
    """Put a picture into the Image tab."""
    page.wait_for_selector("#photo input[type=file]", state="attached")
    page.set_input_files("#photo input[type=file]", image)
    page.wait_for_selector(".lens-proof[data-verdict]")


def show_explore(page: Page, _image: str) -> None:
    """Hide the mouth of the drawn happy face in the Explore tab."""
    page.get_by_role("tab", name="Explore").click()
    page.click(".ex-examples button:has-text('happiness')")
    page.wait_for_selector(".ex-proof .lens-proof")
    page.click(".ex-parts button:has-text('mouth')")
    page.wait_for_selector(".ex-ghost:not([hidden])")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("target", type=Path)
    parser.add_argument("--image", type=Path, default=ROOT / "emotion/examples/four-faces.jpg")
    parser.add_argument("--tab", choices=("image", "explore"), default="image")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1480)
    args = parser.parse_args()
    with sync_playwright() as session:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = session.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": args.width, "height": args.height})
        page.goto(f"{args.url}?__theme={args.theme}")
        {"image": show_image, "explore": show_explore}[args.tab](page, str(args.image))
        page.wait_for_timeout(800)
        page.screenshot(path=str(args.target))
        browser.close()


if __name__ == "__main__":
    main()
