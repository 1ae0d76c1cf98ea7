"""A stand-in for the Messages API, on loopback: what the real client talks to where it is tried."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWER = "All is well."
COMMAND = "echo hello"


@dataclass(frozen=True)
class Exchange:
    """When a request had come in whole, and when its answer was out; of time.monotonic()."""

    asked: float
    answered: float


@dataclass
class Api:
    """Answers each turn with some calls of a tool, one a request, and at last with a sentence."""

    tools: int = 1
    """Calls of Bash before the sentence."""
    seconds: float = 0
    """How long the model thinks over each answer."""
    exchanges: list[Exchange] = field(default_factory=list)

    def __enter__(self) -> Api:
        api = self

        class Handler(_Handler):
            def answer(self, body: dict[str, Any]) -> None:
                asked = time.monotonic()
                time.sleep(api.seconds)
                used = json.dumps(body["messages"]).count('"tool_result"')
                self.stream(body["model"], used, last=used >= api.tools)
                api.exchanges.append(Exchange(asked, time.monotonic()))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        """For ANTHROPIC_BASE_URL."""
        return f"http://127.0.0.1:{self._server.server_port}"


class _Handler(BaseHTTPRequestHandler):
    """What the client sends, and server-sent events as it reads them."""

    def answer(self, body: dict[str, Any]) -> None:
        raise NotImplementedError

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.partition("?")[0] == "/v1/messages" and body.get("stream"):
            self.answer(body)
        else:
            self.send_error(404)

    def stream(self, model: str, number: int, *, last: bool) -> None:
        """One answer: a call of Bash, or the sentence that ends the turn."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("request-id", f"req_{number}")
        self.end_headers()
        usage = {
            "input_tokens": 1200,
            "output_tokens": 1,
            "cache_creation_input_tokens": 3000,
            "cache_read_input_tokens": 15000,
        }
        message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": model}
        self._event("message_start", message={**message, "content": [], "usage": usage})
        if last:
            block: dict[str, Any] = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": ANSWER}
        else:
            block = {"type": "tool_use", "id": f"toolu_{number}", "name": "Bash", "input": {}}
            call = {"command": COMMAND, "description": "Say hello"}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(call)}
        self._event("content_block_start", index=0, content_block=block)
        self._event("content_block_delta", index=0, delta=delta)
        self._event("content_block_stop", index=0)
        self._event(
            "message_delta",
            delta={"stop_reason": "end_turn" if last else "tool_use"},
            usage={"output_tokens": 85},
        )
        self._event("message_stop")

    def _event(self, kind: str, **content: Any) -> None:
        data = json.dumps({"type": kind, **content})
        self.wfile.write(f"event: {kind}\ndata: {data}\n\n".encode())
