#!/usr/bin/env python3
"""Receives webhooks with nothing but Python: verifies them as Standard Webhooks 1.0.0 says, and prints each event once.
    WEBHOOK_SECRET=whsec_... PORT=9000 python3 examples/webhooks.py
GET /webhook-endpoints/{webhookEndpointId}/secret answers the secret. docs/webhooks.md has the steps.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import queue
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = int(os.environ.get("PORT", "9000"))
TOLERANCE_SECONDS = 300
MAX_BYTES = 1024 * 1024

try:
    KEY = base64.b64decode(os.environ.get("WEBHOOK_SECRET", "").removeprefix("whsec_"), validate=True)
except binascii.Error:
    KEY = b""


def fault(headers, body):
    """Why a message is not to be trusted; None if it is."""
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    message, timestamp, signatures = (headers.get(name, "") for name in names)
    if not (message and timestamp and signatures):
        return "a header is missing"
    # An old message that somebody has recorded is not accepted again.
    if not (timestamp.isascii() and timestamp.isdigit() and abs(time.time() - int(timestamp[:12])) <= TOLERANCE_SECONDS):
        return "the timestamp is not near now"
    # The bytes that came, before any parser: JSON that is written anew can differ.
    signed = f"{message}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
    # While a secret is being replaced there is a signature of each of the two.
    if not any(hmac.compare_digest(given.encode(), expected.encode()) for given in signatures.split(" ")):
        return "no signature is valid"
    return None


# A table in a real receiver: it outlives the process, and the webhook-id is unique in it.
inbox = {}
inbox_lock = threading.Lock()
to_do = queue.SimpleQueue()


def work():
    """Runs beside the answers, so an event may take its time."""
    while True:
        event = inbox[to_do.get()]
        line = f"{event['id']} {event['type']}"
        if event["cardId"]:
            line += f" of {event['cardId']}, sequence {event['sequence']}"
        if "balance" in event["data"]:
            line += f", balance {event['data']['balance']['balance']}"
        print(line, flush=True)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections
    timeout = 60  # longer than the sender keeps one at rest

    def answer(self, status, text=""):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self):
        size = self.headers.get("Content-Length", "")
        if not size.isdigit() or int(size) > MAX_BYTES:
            self.close_connection = True
            return self.answer(413)
        body = self.rfile.read(int(size))
        refused = fault(self.headers, body)
        if refused:
            print(f"Refused: {refused}", flush=True)
            return self.answer(401, refused)
        message = self.headers["webhook-id"]
        event = json.loads(body)
        with inbox_lock:
            is_new = message not in inbox
            if is_new:
                inbox[message] = event
        # It is stored. Anything but a 2xx would bring it again.
        self.answer(204)
        if is_new:
            to_do.put(message)
        else:
            print(f"{message} came again", flush=True)

    def log_message(self, *_):
        """The events are the log."""


if len(KEY) < 24:
    sys.exit("WEBHOOK_SECRET is not the secret of an endpoint, whsec_...")
threading.Thread(target=work, daemon=True).start()
with ThreadingHTTPServer(("127.0.0.1", PORT), Receiver) as server:
    print(f"Listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
