"""Serves the double on a free port of loopback and prints the port, as the engine expects."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from .servicer import GoogleProvider

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def main() -> None:
    server = grpc.server(ThreadPoolExecutor(max_workers=16), options=UNLIMITED)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(GoogleProvider(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
