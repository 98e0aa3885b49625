"""Where alerts end in tests: a mail server and webhooks on loopback, and what each received."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email import message_from_bytes
from email.message import Message

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class _Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as a client needs that sends one mail."""

    def handle(self) -> None:
        self._say("220 here")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self._say("354 go on")
                self.server.mails.append(message_from_bytes(b"".join(iter(self.rfile.readline, b".\r\n"))))
            self._say("221 bye" if verb == b"QUIT" else "250 well")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Mail)
        self.mails: list[Message] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@contextmanager
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Hook:
    """A webhook that answers each post with the same bytes; `drip` sends one more every so many seconds, for ever."""

    def __init__(self, answer: bytes, drip: float | None = None) -> None:
        self._server, self.posted = socket.create_server(("127.0.0.1", 0)), list[bytes]()
        self._answer, self._drip, self._over = answer, drip, threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    def close(self) -> None:
        self._over.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._take, args=(client,), daemon=True).start()

    def _take(self, client: socket.socket) -> None:
        with closing(client):
            client.settimeout(5)
            asked = b""
            while not asked.endswith(b"}") and (more := client.recv(65536)):  # head and body come apart
                asked += more
            self.posted.append(asked)
            try:
                client.sendall(self._answer)
                while self._drip is not None and not self._over.wait(self._drip):
                    client.sendall(b"x")
            except OSError:
                return


@contextmanager
def hook(answer: bytes = OK, drip: float | None = None) -> Iterator[Hook]:
    made = Hook(answer, drip)
    try:
        yield made
    finally:
        made.close()
