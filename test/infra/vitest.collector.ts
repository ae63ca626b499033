import { defineConfig } from 'vitest/config';
import base from '../../infra/vitest.base.ts';

/** `npm run test:collector`: needs a collector, which no package of npm or Debian has, so it is no part of the everyday tests. */
export default defineConfig({
  test: {
    ...base.test,
    include: ['infra/live-collector.ts'],
    reporters: ['default'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
