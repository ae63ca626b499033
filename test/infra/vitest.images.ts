import { defineConfig } from 'vitest/config';
import base from '../../infra/vitest.base.ts';

/** `npm run test:images`: installs packages from the registry, so it is no part of the everyday tests. */
export default defineConfig({
  test: {
    ...base.test,
    include: ['infra/images.ts'],
    reporters: ['default'],
    testTimeout: 600_000,
    hookTimeout: 600_000,
  },
});
