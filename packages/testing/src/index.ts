export {
  type GoldenName,
  goldenCheckpoint,
  goldenNames,
  tinyStoriesCheckpoint,
  validationStories,
} from './fixtures.ts';
export {
  type HubFault,
  type HubRequest,
  type HubServer,
  type HubServerOptions,
  startHubServer,
} from './hub-server.ts';
export {
  startTestNats,
  startTestRedis,
  startTestServers,
  type TestServer,
  type TestServers,
} from './servers.ts';
export { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';
