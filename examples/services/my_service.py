"""A service in Python's standard library: it answers for its health, announces itself and ends when it is asked to."""

import json
import os
import signal
import sys
import threading
import urllib.request
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SERVICE_ID = "my-service"
PORT = int(os.environ.get("PORT") or os.environ.get("SERVICE_PORT") or "8001")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/health":
            return self.answer(404, {"error": "expected /health"})
        self.answer(200, {"status": "healthy", "service": SERVICE_ID, "timestamp": datetime.now().isoformat()})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def register():
    """Announces the service to the server that supervises it, with the token of its run."""
    url = os.environ.get("POLYPHONY_URL")
    if url is None:
        return
    request = urllib.request.Request(
        f"{url}/api/v1/services",
        data=json.dumps({"id": SERVICE_ID}).encode(),
        headers={
            "content-type": "application/json",
            "authorization": f"Bearer {os.environ['POLYPHONY_SERVICE_RUN']}",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        print("registered", response.status)


def main():
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)

    def stop(_signal, _frame):
        print("Shutting down gracefully...")
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    register()
    signal.pause() if os.name == "posix" else threading.Event().wait()


if __name__ == "__main__":
    main()
