"""A line to a server that is far away: what goes either way arrives 15 ms later, and all connections together carry 100 MB/s each way.

    wire.py PORT

Prints the port on 127.0.0.1 that leads to PORT. Ends when its standard input does.
"""

import asyncio
import sys

DELAY = 0.015
BYTES_PER_SECOND = 100e6
CHUNK = 256 << 10
# Enough to fill the line while the first byte is under way.
UNDER_WAY = 64


class Line:
    """One direction."""

    def __init__(self):
        self.free = 0.0

    async def carry(self, reader, writer):
        loop, under_way = asyncio.get_running_loop(), asyncio.Queue(UNDER_WAY)

        async def take():
            try:
                while data := await reader.read(CHUNK):
                    now = loop.time()
                    self.free = max(self.free, now) + len(data) / BYTES_PER_SECOND
                    await under_way.put((self.free + DELAY, data))
            except OSError:
                pass
            # A connection that was reset has ended too.
            await under_way.put((0, b""))

        taking = asyncio.create_task(take())
        try:
            while True:
                due, data = await under_way.get()
                if not data:
                    break
                await asyncio.sleep(max(0, due - loop.time()))
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            pass
        finally:
            taking.cancel()


async def main():
    up, down, port = Line(), Line(), int(sys.argv[1])

    async def connect(reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port, limit=4 * CHUNK)
            await asyncio.gather(up.carry(reader, far_writer), down.carry(far_reader, writer))
            far_writer.close()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connect, "127.0.0.1", 0, limit=4 * CHUNK)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
