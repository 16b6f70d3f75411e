"""A service with its configuration in files; it says what it reads there."""
import http.server
import json
import os

CODE = "first"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open("/etc/podinfo/config.json") as file:
            config = json.load(file)
        with open("/etc/motd.d/podinfo") as file:
            motd = file.read().strip()
        body = {"code": CODE, "colour": config["colour"], "motd": motd, "pod": os.environ["POD_NAME"]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("0.0.0.0", 9898), Handler).serve_forever()
