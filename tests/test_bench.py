"""The benchmarks without the timings: their calculations and reports, and that no process is left."""

import json
import os
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import ROOT, free_port

from benchmarks import figures, process, report, verdicts

RESULTS = ROOT / "benchmarks" / "results.json"


@pytest.fixture
def results():
    return json.loads(RESULTS.read_text())


def test_results_md_and_the_readme_state_the_results(results):
    assert (ROOT / "benchmarks" / "RESULTS.md").read_text() == report.markdown(results)
    assert report.short(results) in (ROOT / "README.md").read_text()


def test_the_verdicts_match_the_results(results):
    again = verdicts.verdicts(results)
    for new, told in zip(again, results["verdicts"], strict=True):
        # The file holds rounded figures.
        assert {**new, "figure": 0} == {**told, "figure": 0}
        assert new["figure"] == pytest.approx(told["figure"], rel=0.005)


def test_the_readme_changes_only_between_its_marks(tmp_path, results):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.MARKS[0]}\nlast time\n{report.MARKS[1]}\nafter\n")
    report.refresh(readme, results)
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "last time" not in text
    assert report.short(results) in text


def test_the_parts_of_each_cold_start_sum_to_it(results):
    for one in results["contenders"].values():
        for start in one["cold"].values():
            assert sum(start["parts"].values()) == pytest.approx(start["seconds"], rel=0.02)


def test_a_million_busy_predictions_cost_their_cpu_time_and_a_sparse_one_a_tenth_of_a_second():
    load = {"clients": 1, "cpu": 10.0, "p50": 12.0}
    found = {
        "memory": {"loaded": 0.5 * 2**30},
        "cold": {"disk": {"seconds": 0.95}},
        "loads": {"raw": [load, {**load, "clients": 8}]},
    }
    cost = figures.cost(found)
    price = 0.000024 + 1 * 0.0000025  # half a gibibyte and a quarter more need a whole one
    assert cost["gib"] == 1
    assert cost["busy"] == pytest.approx(0.40 + 1e4 * price + 1e3 * 1.0 * price)
    assert cost["sparse"] == pytest.approx(0.40 + 1e5 * price + 1e3 * 1.0 * price)


def test_a_server_is_started_measured_and_stopped_with_its_descendants(tmp_path):
    program = tmp_path / "server.py"
    program.write_text(
        textwrap.dedent("""
            import http.server, os, subprocess, sys, time
            sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
            child = subprocess.Popen(sleep, start_new_session=True)
            class Handler(http.server.BaseHTTPRequestHandler):
                asked = 0
                def do_POST(self):
                    Handler.asked += 1
                    body = self.rfile.read(int(self.headers["Content-Length"]))
                    self.send_response(200 if Handler.asked > 1 else 503)
                    self.end_headers()
                    self.wfile.write(body + str(child.pid).encode())
            http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
        """)
    )
    port = free_port()
    request = process.Request("/", "text/plain", b"pid ", lambda body: body.startswith(b"pid "))
    command = [sys.executable, str(program), str(port)]
    server = process.Server(command, port, tmp_path, dict(os.environ), tmp_path / "log")
    try:
        seconds, answer = server.first_answer(request)
        child = int(answer.body.split()[1])
        assert 0 < seconds < process.PATIENCE
        assert server.processes() == sorted([server.process.pid, child])
        assert server.memory() > 2e6
        assert server.cpu_seconds() > 0
    finally:
        server.stop()
    # No process may wait for the orphan, so it may stay a zombie.
    stat = Path(f"/proc/{child}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"
    assert server.process.poll() is not None


def test_the_error_for_a_server_that_ends_has_its_last_lines(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    server = process.Server(command, free_port(), tmp_path, dict(os.environ), tmp_path / "log")
    with pytest.raises(RuntimeError, match="no such model"):
        server.first_answer(process.Request("/", "text/plain", b"", lambda _: True))
    server.stop()


def test_a_chunked_body_is_decoded():
    assert process.dechunked(b"4\r\nWiki\r\n6;x=y\r\npedia \r\n0\r\n\r\n") == b"Wikipedia "
