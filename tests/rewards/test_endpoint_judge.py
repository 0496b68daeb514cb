"""Judges behind an endpoint, asked for real: a server of this test answers over HTTP as it is told."""

import base64
import io
import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from PIL import Image

from burnish.components import save
from burnish.errors import InputError
from burnish.rewards import EndpointConfig, TruthConfig, TruthJudge, VotesConfig, VotesJudge

SHAPE, TASKS = (2, 6, 8, 8), ("drawer-open-v3",)


class Answering(BaseHTTPRequestHandler):
    def do_GET(self):
        self._say(self.server.listing, {"data": []})  # type: ignore[attr-defined]

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((dict(self.headers), json.loads(body)))  # type: ignore[attr-defined]
        self._say(*self.server.answers[min(len(self.server.seen), len(self.server.answers)) - 1])  # type: ignore[attr-defined]

    def _say(self, status, answer):
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    found = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    found.seen, found.answers, found.listing = [], [], 200  # type: ignore[attr-defined]
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


def endpoint(server, **more):
    settings = {"url": f"http://127.0.0.1:{server.server_port}/v1", "timeout": 5.0, "tries": 2, "parallel": 1}
    return EndpointConfig(**{**settings, **more})


def votes(server, **config):
    return VotesJudge(SHAPE, TASKS, 4, VotesConfig(endpoint(server), **config))


def said(*words):
    usage = {"prompt_tokens": 100, "completion_tokens": 7}
    return 200, {"choices": [{"message": {"content": word}} for word in words], "usage": usage}


def film(count=1):
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1, 1).expand(count, *SHAPE).contiguous()


def ask(judge, count=1):
    found = judge(film(count), torch.zeros(count, dtype=torch.long))
    return found.success.tolist(), found.answered.tolist()


@pytest.mark.parametrize(
    ("words", "success"),
    [
        (("Yes.", "no", "I say no, then yes"), True),
        (("no", "no", "yes"), False),
        (("It is open: yes", "hm"), True),
    ],
    ids=["majority", "minority", "one_counts"],
)
def test_the_majority_of_the_last_words(server, words, success):
    server.answers = [said(*words)]
    judge = votes(server, votes=3)
    assert ask(judge) == ([success], [True])
    assert (judge.use.requests, judge.use.tokens_in, judge.use.tokens_out) == (1, 100, 7)
    _, body = server.seen[0]
    assert body["n"] == 3 and body["model"] == "gpt-4o"


def test_it_sees_the_film_and_the_sentence_and_the_key_is_in_the_header_alone(server, monkeypatch, tmp_path):
    monkeypatch.setenv("MY_KEY", "secret-1")
    server.answers = [said("yes")]
    judge = VotesJudge(SHAPE, TASKS, 4, VotesConfig(endpoint(server, key_from="MY_KEY")))
    ask(judge)
    headers, body = server.seen[0]
    text, *pictures = body["messages"][0]["content"]
    assert headers["Authorization"] == "Bearer secret-1" and "drawer open" in text["text"]
    sizes = [
        Image.open(io.BytesIO(base64.b64decode(each["image_url"]["url"].partition(",")[2]))).size for each in pictures
    ]
    assert sizes == [(16, 8), (16, 8)], "two cameras beside each other, two pictures"
    save(tmp_path, judge)
    assert not any(b"secret-1" in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("ties", "success", "answered"), [("success", True, True), ("failure", False, True), ("unanswered", False, False)]
)
def test_ties(server, ties, success, answered):
    server.answers = [said("yes", "no")]
    judge = votes(server, ties=ties)
    assert ask(judge) == ([success], [answered])
    assert judge.use.ties >= 1 and judge.use.unanswered == (not answered)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, {}), "status 500"),
        ((200, b"<html>"), "an answer of another form"),
        ((200, {"choices": 3}), "an answer of another form"),
        (said("perhaps"), "no answer with a yes or no"),
        ((302, {}), "status 302"),
    ],
    ids=["broken", "html", "another_form", "nonsense", "redirected"],
)
def test_what_is_no_verdict_is_no_failure_and_is_counted(server, answer, reason):
    server.answers = [answer]
    judge = votes(server)
    assert ask(judge) == ([False], [False])
    assert judge.use.reasons == {reason: 2} and judge.use.unanswered == 1 and judge.use.requests == 2
    assert len(server.seen) == 2, "tried again, and nobody was followed elsewhere"


def test_a_second_try_may_answer(server):
    server.answers = [(503, {}), said("no")]
    judge = votes(server)
    assert ask(judge) == ([False], [True]) and judge.use.reasons == {"status 503": 1}


def test_a_film_is_asked_about_once(server):
    server.answers = [said("yes")]
    judge = votes(server)
    twice = film(1).repeat(2, 1, 1, 1, 1)
    assert judge(twice, torch.zeros(2, dtype=torch.long)).success.tolist() == [True, True]
    ask(judge)
    assert len(server.seen) == 1 and (judge.use.asked, judge.use.cached) == (3, 2)
    priced = endpoint(server, price_in=10.0, price_out=1000.0)
    assert priced.cost(judge.use) == pytest.approx(100 * 10e-6 + 7 * 1000e-6)


@pytest.mark.parametrize(("true", "false", "success"), [(0.5, 0.2, True), (0.2, 0.5, False)])
def test_the_log_probability_of_true(server, true, false, success):
    tokens = [("True", 0.6 * true), (" true", 0.4 * true), ("False", false), ("The", 0.2)]
    top = [{"token": token, "logprob": math.log(chance)} for token, chance in tokens]
    server.answers = [(200, {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}]})]
    judge = TruthJudge(SHAPE, TASKS, 4, TruthConfig(endpoint(server)))
    assert ask(judge) == ([success], [True])
    assert server.seen[0][1]["max_tokens"] == 1 and server.seen[0][1]["logprobs"] is True


def test_neither_true_nor_false_is_no_verdict(server):
    top = [{"token": "Maybe", "logprob": -0.1}]
    server.answers = [(200, {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}]})]
    judge = TruthJudge(SHAPE, TASKS, 4, TruthConfig(endpoint(server)))
    assert ask(judge) == ([False], [False])


def test_a_judge_that_cannot_be_reached_or_refuses(server):
    votes(server).check()
    server.listing = 401
    with pytest.raises(InputError, match="it refuses the key \\(401\\), expected one in the environment variable"):
        votes(server).check()
    server.listing = 404  # an endpoint that lists no models may answer all the same
    votes(server).check()
    gone = VotesJudge(SHAPE, TASKS, 4, VotesConfig(EndpointConfig(url="http://127.0.0.1:9/v1", timeout=2.0)))
    with pytest.raises(InputError, match=r"cannot be reached \(no connection\).*config.judge.endpoint.url"):
        gone.check()
    wrong = VotesJudge(SHAPE, TASKS, 4, VotesConfig(EndpointConfig(url="file:///etc/hostname")))
    with pytest.raises(InputError, match="no http address"):
        wrong.check()
