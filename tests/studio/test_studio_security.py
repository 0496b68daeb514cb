"""Who may ask, and what: refused is what is foreign, and the server goes on."""

import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from burnish.errors import InputError
from burnish.studio.security import Guard, chosen_token
from tests.studio.studios import send, until


def test_the_token(studio):
    assert studio.request("/", authorization="Bearer wrong")[0] == 401
    assert studio.request("/api/runs", authorization="")[0] == 401
    assert studio.request("/api/runs?token=a%20token%20for%20tests", authorization="")[0] == 401, "at / alone"
    status, _, headers = studio.request("/?token=a%20token%20for%20tests", authorization="")
    cookie = headers["set-cookie"]
    assert status == 200 and "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
    assert studio.request("/api/runs", authorization="", cookie=cookie.split(";")[0])[0] == 200
    assert studio.request("/api/runs", authorization="", cookie="burnish-studio-1=a token for tests")[0] == 401
    assert studio.request("/healthz", authorization="")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[::2]:80", "10.0.0.7", ""])
def test_a_foreign_host(studio, host):
    assert studio.request("/api/runs", host=host)[0] in (400, 421)
    assert studio.request("/healthz", host=host)[0] in (400, 421)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "file://"])
def test_a_foreign_origin(studio, origin):
    assert studio.request("/api/runs", origin=origin)[0] == 403
    assert studio.request("/api/sets/x/labels/y", "POST", b"{}", origin=origin)[0] == 403
    with pytest.raises(InvalidStatus, match="403"), studio.socket(origin=origin):
        pass


def test_sockets_must_say_where_they_come_from(studio):
    for headers in ({"origin": ""}, {"authorization": "Bearer wrong"}, {"authorization": ""}):
        with pytest.raises(InvalidStatus, match="403"), studio.socket(**headers):
            pass


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e/server.py",
        "/runs/RUN/../../../etc/passwd",
        "/runs/RUN/recipe.yaml",
        "/runs/RUN/..%2f..%2fetc%2fpasswd",
        "/runs/..%2f..%2fetc/passwd",
        "/runs/%2fetc/report.json",
        "/api/runs/..",
        "/api/runs/%2fetc%2fpasswd",
        "/api/sets/%2fetc",
        "/api/sets/RUN/labels/..%2f..%2fx",
        "/api/runs/RUN/starts?frames=99999999",
        "/api/runs/RUN/starts?frames=-1",
        "/api/runs/RUN/starts?frames=x",
        "/api/runs/RUN/episode?policy=../x&seed=1",
    ],
)
def test_no_path_leads_out(studio, path):
    run = next(each["id"] for each in studio.ask("/api/runs")["runs"] if each["name"] == "small")
    status, body, _ = studio.request(path.replace("RUN", run))
    assert status == 404 and b"root:" not in body and b"import" not in body


def test_a_hostile_run_is_shown_as_text(studio):
    rows = {row["name"]: row for row in studio.ask("/api/runs")["runs"]}
    assert set(rows) == {"<img src=x onerror=alert(1)>", "calling", "empty", "scripted", "small"}, "no link is followed"
    broken = rows["<img src=x onerror=alert(1)>"]
    assert "NaN is no number" in broken["problem"] and not broken["report"]
    assert studio.request(f"/runs/{broken['id']}/report.html")[0] == 404, "a link out of the folder"
    status, body, headers = studio.request(f"/runs/{rows['scripted']['id']}/report.html")
    assert status == 200 and b"<script>" in body
    policy = headers["content-security-policy"]
    assert policy.startswith("sandbox") and "allow-scripts" not in policy and "script-src" not in policy
    assert "default-src 'none'" in policy
    for name, said in {
        broken["name"]: "world_model: found no finished stage",
        "calling": "names code to be imported",
        "empty": "recipe.yaml",
    }.items():
        with studio.socket() as socket:
            send(socket, "open", run=rows[name]["id"])
            found = until(socket, lambda message: message["type"] == "error")
            assert said in found["text"]
    assert studio.request("/healthz")[0] == 200


def test_malformed_and_oversized_messages(studio):
    run = next(each["id"] for each in studio.ask("/api/runs")["runs"] if each["name"] == "small")
    with studio.socket() as socket:
        for nonsense in (
            "{",
            '{"do": "open", "run": "nothing"}',
            '{"do": "step"}',
            b"\x00\x01",
            '{"do": "begin", "frame": NaN}',
        ):
            socket.send(nonsense)
            assert until(socket, lambda message: message["type"] == "error")["text"]
        send(socket, "open", run=run)
        assert until(socket, lambda message: message["type"] == "opened")["task"] == "drawer-open-v3"
        for wrong in ({"frame": 10**9}, {}, {"drivers": ["nobody"], "frame": 0}, {"seed": -1}):
            send(socket, "begin", **wrong)
            assert until(socket, lambda message: message["type"] == "error")["do"] == "begin"
        send(socket, "input", seq=1, action=[0.0] * 9, on=True)
        assert "expected 4" in until(socket, lambda message: message["type"] == "error")["text"]
    with studio.socket() as socket:
        socket.send("x" * 1_000_000)
        with pytest.raises(ConnectionClosed):
            while True:
                socket.recv(timeout=60)
    with studio.socket() as socket, pytest.raises(ConnectionClosed):
        for _ in range(2000):
            socket.send("nonsense")
            socket.recv(timeout=60)
    body = json.dumps({"labels": [{"episode": 0, "success": True}], "more": "x" * 3_000_000}).encode()
    (first, *_) = studio.ask(f"/api/sets?run={run}")["sets"]
    status, answer, _ = studio.request(f"/api/sets/{first['id']}/labels/large", "POST", body)
    assert status == 400 and b"bytes were sent" in answer and not (studio.out / "labels" / "large.csv").exists()
    assert studio.request("/healthz")[0] == 200


def test_headers_of_the_page(studio):
    for path in ("/", "/static/app.js", "/api/runs"):
        _, _, headers = studio.request(path)
        policy = headers["content-security-policy"]
        assert "script-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


def test_other_machines_need_a_token():
    with pytest.raises(InputError, match=r"--host 0\.0\.0\.0 lets other machines in.*--token"):
        chosen_token("0.0.0.0", None)
    with pytest.raises(InputError, match="too short"):
        chosen_token("0.0.0.0", "short")
    assert chosen_token("0.0.0.0", "long enough, this one") == "long enough, this one"
    assert len(chosen_token("127.0.0.1", None)) >= 20 and chosen_token("localhost", None) != chosen_token("::1", None)


@pytest.mark.parametrize(
    ("bound", "host", "ours"),
    [
        ("127.0.0.1", "localhost:80", True),
        ("127.0.0.1", "[::1]:80", True),
        ("127.0.0.1", "192.168.1.2:80", False),
        ("0.0.0.0", "192.168.1.2:80", True),
        ("0.0.0.0", "[fe80::1]", True),
        ("0.0.0.0", "evil.example", False),
        ("lab.example", "lab.example:9000", True),
        ("lab.example", "evil.example", False),
    ],
)
def test_which_host_is_ours(bound, host, ours):
    assert Guard(None, "a token for tests", bound, 80)._is_ours(host) is ours
