"""The server of moto, one request at a time: its dictionaries break, with a status of 500, where two come at once."""

from threading import Lock

from moto import server

serve = server.run_simple


def serve_one_at_a_time(host, port, app, **options):
    lock = Lock()

    def alone(environ, start_response):
        with lock:
            return app(environ, start_response)

    serve(host, port, alone, **options)


server.run_simple = serve_one_at_a_time
server.main()
