"""Size and speed of the explorer's page: 60 tokens through 6 layers of 8 heads, in Chromium.

Run with `python -m benchmarks.explorer [--browser PATH]`; needs the extra `browser` and Chromium. Prints the
size of the page, the time until it can be used, the processor time of the page's main thread until then, and
the time between frames while the pointer moves over a matrix and over the tokens of the lines.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from saccade.model_folder.checkpoint import Model, vocabulary_of
from saccade.models import build_model, model_config
from saccade.text.tokenizer import SentencePieceTokenizer, TokenizerConfig
from saccade.use.translator import Translator

TOKENS, LAYERS, HEADS = 60, 6, 8
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
_LETTERS = "abcdefghijklmnopqrstuvwxyz"

HOVER = """async (selector) => {
  const places = [...document.querySelectorAll(selector)].flatMap((node) => {
    const box = node.getBoundingClientRect();
    return Array.from({ length: selector === ".matrix" ? 240 : 4 }, (_, i) => [node,
      box.left + box.width * ((i * 37) % 240) / 240, box.top + box.height * ((i * 61) % 240) / 240]);
  });
  const frames = [], work = [];
  let before = await new Promise(requestAnimationFrame);
  for (const [node, clientX, clientY] of places) {
    const begun = performance.now();
    const where = { clientX, clientY };
    for (const type of ["mouseenter", "mousemove"]) node.dispatchEvent(new MouseEvent(type, where));
    work.push(performance.now() - begun);
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - before);
    before = now;
  }
  return { frames, work };
}"""


def write_page(path: Path) -> None:
    """Writes the page of a model with random weights: even maps, so that no line is too weak to be drawn."""
    torch.manual_seed(0)
    letters = [" ".join(_LETTERS[place:] + _LETTERS[:place]) for place in range(26)]
    settings = TokenizerConfig(vocab_size=300)
    tokenizer = SentencePieceTokenizer.learn(settings, letters, letters)
    config = model_config(
        {
            "width": 128,
            "heads": HEADS,
            "feed_forward": 256,
            "encoder_layers": LAYERS,
            "decoder_layers": LAYERS,
        }
    )
    network: Any = build_model(config, vocabulary_of(tokenizer))
    text = tokenizer.decode(tokenizer.encode_source([" ".join(letters)])[0][: TOKENS - 1])
    translator = Translator.of(Model(network.eval(), config, tokenizer))
    record = translator.inspect(text, text, name=f"{TOKENS} tokens, {LAYERS} layers of {HEADS} heads")
    assert {len(tokens.pieces) for tokens in record.tokens.values()} == {TOKENS}
    record.save(path)


def measure(path: Path, *, browser: str) -> None:
    """Prints what opening and using the page takes."""
    from playwright.sync_api import sync_playwright

    print(f"size of the page: {path.stat().st_size / 1e6:.2f} MB")
    with sync_playwright() as running:
        opened = running.chromium.launch(executable_path=browser, args=ARGUMENTS)
        times, computed = [], []
        for _ in range(5):
            page = opened.new_page(viewport={"width": 1280, "height": 900})
            inside = page.context.new_cdp_session(page)
            inside.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(path.as_uri())
            metrics = {one["name"]: one["value"] for one in inside.send("Performance.getMetrics")["metrics"]}
            computed.append(metrics["TaskDuration"] * 1000)
            times.append(
                page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
            )
            page.close()
        print(f"until it can be used: median {statistics.median(times):.0f} ms of {len(times)} openings")
        print(f"processor time of the page meanwhile: median {statistics.median(computed):.0f} ms")
        page = opened.new_page(viewport={"width": 1280, "height": 900})
        page.goto(path.as_uri())
        for key, selector in (("2", ".matrix"), ("1", ".token")):
            page.keyboard.press(key)
            found = page.evaluate(HOVER, selector)
            frames, work = sorted(found["frames"]), sorted(found["work"])
            late = sum(frame > 1000 / 60 * 1.5 for frame in frames)
            print(
                f"hovering over {selector}: {len(frames)} frames, median {statistics.median(frames):.1f} ms, "
                f"{late} late; own work median {statistics.median(work):.2f} ms, "
                f"95% below {work[int(len(work) * 0.95)]:.2f} ms"
            )
        opened.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--browser", default=shutil.which("chromium"), help="path of Chromium")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        write_page(path)
        measure(path, browser=arguments.browser)


if __name__ == "__main__":
    main()
