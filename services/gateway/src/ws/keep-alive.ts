import type { WebSocket } from '@fastify/websocket';

/**
 * Pings an open socket, and ends one from which nothing has come since the ping before: neither the answer, nor room for
 * what waits to be sent, which is how a slow but living client shows.
 */
export function keepAlive(socket: WebSocket, intervalMs: number): void {
  let heard = true;
  let waiting = 0;
  const hear = () => {
    heard = true;
  };
  socket.on('pong', hear);
  socket.on('message', hear);
  const timer = setInterval(() => {
    if (!heard && socket.bufferedAmount >= waiting) {
      socket.terminate();
      return;
    }
    heard = false;
    waiting = socket.bufferedAmount;
    socket.ping();
  }, intervalMs);
  socket.once('close', () => clearInterval(timer));
}
