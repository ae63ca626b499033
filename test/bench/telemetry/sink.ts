import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An OTLP receiver in a process of its own that takes everything and keeps nothing, as a collector elsewhere would cost. */
const server = createServer((request, response) => {
  request.resume().on('end', () => response.setHeader('content-type', 'application/x-protobuf').end());
});
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
process.once('disconnect', () => process.exit());
