import { defineConfig } from 'vitest/config';

/** Every package's test settings. The JSON report feeds the totals that `npm test` prints last. */
export default defineConfig({
  test: {
    include: ['**/*.test.ts'],
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 180_000,
    // As patient as the tests: how long something takes decides nothing.
    expect: { poll: { timeout: 50_000 } },
    passWithNoTests: true,
    reporters: ['default', ['json', { outputFile: '.vitest/results.json' }]],
  },
});
