import { connect } from 'node:net';

/**
 * Connects to a local port, sends `question`, and gives what comes back until `isWhole` holds or the other side ends.
 * Gives `undefined` when nothing answers in a second.
 */
export function askPort(
  port: number,
  question: string,
  isWhole: (answer: string) => boolean,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 1000 });
    let answer = '';
    const finish = (result: string | undefined) => {
      socket.destroy();
      resolve(result);
    };
    socket.once('connect', () => socket.write(question));
    socket.on('data', (chunk) => {
      answer += chunk.toString();
      if (isWhole(answer)) finish(answer);
    });
    socket.once('end', () => finish(answer));
    socket.once('timeout', () => finish(undefined));
    socket.once('error', () => finish(undefined));
  });
}
