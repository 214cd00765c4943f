"""A proxy between a store and its server, that loses an answer and the connection with it."""

import contextlib
import socket
import threading


class Proxy:
    """Passes on what comes to one socket to another one, for as long as the `with` lasts."""

    def __init__(self, server, path):
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._lose = None
        self.lost = 0

    def lose(self, place):
        """Lose the answer at this place from now on, counted from 0; None loses none."""
        self._lose, self.lost = place, 0

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client, server):
        with client, server:
            asking = threading.Thread(target=self._pass_on, args=(client, server, False))
            asking.start()
            self._pass_on(server, client, answers=True)
            asking.join()

    def _pass_on(self, source, target, answers):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                if answers and self._lose is not None:
                    self._lose -= 1
                    if self._lose < 0:
                        self._lose, self.lost = None, 1
                        break
                target.sendall(data)
        for side in (source, target):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
