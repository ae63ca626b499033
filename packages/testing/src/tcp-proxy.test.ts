import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';

let echo: Server;
let proxy: TcpProxy;
beforeAll(async () => {
  echo = createServer((socket) => void socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  const address = echo.address();
  proxy = await startTcpProxy(`redis://127.0.0.1:${typeof address === 'object' && address?.port}`);
});
afterAll(async () => {
  await proxy.close();
  echo.close();
});

const open = async () => {
  const socket = connect(Number(new URL(proxy.url).port), '127.0.0.1').setEncoding('utf8');
  await once(socket, 'connect');
  return socket;
};
const endOf = (socket: Socket) =>
  new Promise<void>((resolve) => {
    socket.on('error', () => {}).on('close', () => resolve());
  });
const answerTo = async (socket: Socket, text: string) => {
  socket.write(text);
  return (await once(socket, 'data'))[0];
};

it('passes both ways, more than a socket holds at once', async () => {
  const socket = await open();
  expect(await answerTo(socket, 'hello')).toBe('hello');
  const long = 'x'.repeat(8_000_000);
  let back = 0;
  socket.on('data', (text: string) => {
    back += text.length;
    if (back === long.length) socket.end();
  });
  socket.write(long);
  await once(socket, 'end');
  expect(back).toBe(long.length);
});

it('holds back what is said while it is held, on old connections and new ones, and loses nothing', async () => {
  const old = await open();
  expect(await answerTo(old, 'before')).toBe('before');
  proxy.hold();
  const fresh = await open();
  const heard: string[] = [];
  for (const socket of [old, fresh]) socket.on('data', (text: string) => heard.push(text));
  old.write('old');
  fresh.write('new');
  // Had it been passed on, this later connection's answer would come behind it.
  const direct = connect((echo.address() as { port: number }).port, '127.0.0.1').setEncoding('utf8');
  expect(await answerTo(direct, 'direct')).toBe('direct');
  expect(heard).toEqual([]);
  proxy.release();
  await expect.poll(() => heard.toSorted()).toEqual(['new', 'old']);
  for (const socket of [old, fresh, direct]) socket.destroy();
});

it('resets connections when it is cut, and new ones until it is released', async () => {
  const socket = await open();
  expect(await answerTo(socket, 'hello')).toBe('hello');
  const broken = endOf(socket);
  proxy.cut();
  await broken;
  await endOf(connect(Number(new URL(proxy.url).port), '127.0.0.1'));
  proxy.release();
  const again = await open();
  expect(await answerTo(again, 'hello')).toBe('hello');
  again.destroy();
});
