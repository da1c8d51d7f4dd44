"""The page over HTTP, as a program would use it, without a browser."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gradio_client import Client, handle_file

from emotion.ui.demo import build_demo, launch

EXAMPLES = Path(__file__).resolve().parents[1] / "emotion" / "examples"


@pytest.fixture(scope="module")
def url(pipeline):
    demo = build_demo(pipeline)
    _, address, _ = launch(demo, prevent_thread_lock=True, quiet=True)
    yield address
    demo.close()


def ask(client: Client, path: Path) -> str:
    answer = client.predict(handle_file(str(path)), api_name="/analyse")
    return answer if isinstance(answer, str) else str(answer)


def test_visitors_at_once_get_their_own_answers(url: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    jobs = [
        (EXAMPLES / "happiness.jpg", "1 face: <b>happiness</b>"),
        (EXAMPLES / "surprise.jpg", "1 face: <b>surprise</b>"),
        (bad, "not a picture"),
    ] * 3
    clients = [Client(url, verbose=False, download_files=str(tmp_path)) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = pool.map(lambda i: ask(clients[i % 3], jobs[i][0]), range(len(jobs)))
        for (path, words), answer in zip(jobs, answers, strict=True):
            assert words in answer, path


def test_every_script_and_style_of_the_page_is_its_own(url: str) -> None:
    import re

    import httpx

    text = httpx.get(url).text
    sources = re.findall(r'<(?:script|link)[^>]+(?:src|href)="(https?://[^"]+)"', text)
    # Gradio links two font hosts as hints; the browser tests watch that nothing is fetched.
    assert not [s for s in sources if not s.startswith((url, "https://fonts."))], sources
